// Asks TensorFlow Serving for a piece and writes it as MIDI; `midi` also runs in a browser.
//
// node client.mjs http://localhost:8501/v1/models/cat-mel_2bar request.json piece.mid
import {readFileSync, writeFileSync} from 'node:fs';

const TICKS = 960; // a second, at the default tempo of MIDI and 480 a quarter note

const length = (n, last = true) =>
  [...(n > 127 ? length(n >> 7, false) : []), (n & 127) | (last ? 0 : 128)];

function midi(piece) {
  const places = [...Array(piece.num_notes).keys()];
  const melodic = places.filter(i => !piece.is_drum[i]).map(i => piece.program[i]);
  const programs = [...new Set(melodic)].sort((a, b) => a - b);
  const channelOf = program => (programs.indexOf(program) % 15 + 10) % 16; // all but 9
  const events = programs.map(program => [0, 0, [0xc0 | channelOf(program), program]]);
  for (const i of places) {
    const channel = piece.is_drum[i] ? 9 : channelOf(piece.program[i]);
    const ticks = time => Math.round(time * TICKS);
    events.push([ticks(piece.start[i]), 2, [0x90 | channel, piece.pitch[i], piece.velocity[i]]]);
    events.push([ticks(piece.end[i]), 1, [0x80 | channel, piece.pitch[i], 0]]);
  }
  events.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const track = [];
  let now = 0;
  for (const [time, , message] of events) {
    track.push(...length(time - now), ...message);
    now = time;
  }
  track.push(0, 0xff, 0x2f, 0);
  const size = [24, 16, 8, 0].map(shift => (track.length >> shift) & 255);
  const header = [77, 84, 104, 100, 0, 0, 0, 6, 0, 0, 0, 1, 1, 0xe0, 77, 84, 114, 107];
  return Uint8Array.from([...header, ...size, ...track]);
}

const [url, request, output] = process.argv.slice(2);
const answer = await fetch(`${url}:predict`, {method: 'POST', body: readFileSync(request)});
if (!answer.ok) throw new Error(await answer.text());
writeFileSync(output, midi((await answer.json()).predictions[0]));

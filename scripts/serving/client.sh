#!/usr/bin/env bash
# Asks TensorFlow Serving for a piece and writes it as MIDI; needs curl and jq.
#
# ./client.sh http://localhost:8501/v1/models/cat-mel_2bar request.json piece.mid
set -euo pipefail

# A line for each message: tick (960 a second), order within a tick, and the bytes.
messages='.predictions[0] as $p
    | [range($p.num_notes)] as $all
    | ([$all[] | select($p.is_drum[.] | not) | $p.program[.]] | unique) as $programs
    | def channel: (. as $program | $programs | index($program)) % 15 | if . > 8 then . + 1 else . end;
      ($programs[] | [0, 0, 192 + channel, .]),
      ($all[] as $i
        | (if $p.is_drum[$i] then 9 else $p.program[$i] | channel end) as $channel
        | [($p.start[$i] * 960 | round), 2, 144 + $channel, $p.pitch[$i], $p.velocity[$i]],
          [($p.end[$i] * 960 | round), 1, 128 + $channel, $p.pitch[$i], 0])
    | map(tostring) | join(" ")'

# Bytes as escapes of printf, as awk cannot write all of them.
track='function byte(n) { out = out sprintf("\\%03o", n); size++ }
    function delta(n, more) { if (n > 127) delta(int(n / 128), 1); byte(n % 128 + (more ? 128 : 0)) }
    { delta($1 - now, 0); now = $1; for (i = 3; i <= NF; i++) byte($i) }
    END {
        byte(0); byte(255); byte(47); byte(0)
        printf "MThd\\000\\000\\000\\006\\000\\000\\000\\001\\001\\340MTrk"
        for (power = 16777216; power >= 1; power /= 256) printf "\\%03o", int(size / power) % 256
        printf "%s", out
    }'

answer=$(curl --silent --show-error --fail-with-body --data-binary "@$2" "$1:predict") ||
    { echo "$answer" >&2; exit 1; }
bytes=$(jq --raw-output "$messages" <<< "$answer" | sort -n -k1,1 -k2,2 | awk "$track")
printf "$bytes" > "$3"

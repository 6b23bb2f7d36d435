/**
 * Samples from the exported model in this folder, in browsers and in Node:
 *
 *   const events = await sample(runtime, {temperature: 0.8, seed: 1});
 * runtime: onnxruntime-web or onnxruntime-node for .onnx, @litertjs/core, loaded, for .tflite.
 */
const ARRAYS = {float32: Float32Array, int32: Int32Array};

async function read(name) {
  const url = new URL(name, import.meta.url);
  if (url.protocol === 'file:') return (await import('node:fs/promises')).readFile(url);
  return new Uint8Array(await (await fetch(url)).arrayBuffer());
}

/** Returns numbers, and nested and typed arrays of them, as one array of type `dtype`. */
function flat(values, dtype) {
  if (values instanceof ARRAYS[dtype]) return values;
  const numbers = (x) => Array.isArray(x) ? x.flatMap(numbers) : ArrayBuffer.isView(x) ? [...x] : x;
  return ARRAYS[dtype].from(numbers([values]));
}

/** Returns a function of the model, which takes and returns arrays by name. */
export async function load(runtime, model, name) {
  const {file, inputs} = model.functions[name], isOnnx = file.endsWith('.onnx');
  const runner = isOnnx ? await runtime.InferenceSession.create(await read(file)) :
                          await runtime.loadAndCompile(await read(file), {accelerator: 'wasm'});
  const tensor = (x, data) => new runtime.Tensor(...(isOnnx ? [x.dtype] : []), data, x.shape);
  return async (values) => {
    const given = Object.entries(inputs).map(
        ([key, x]) => [key, tensor(x, flat(values[key], x.dtype))]);
    const found = Object.entries(await runner.run(Object.fromEntries(given)));
    const arrays = await Promise.all(found.map(([, x]) => isOnnx ? x.data : x.data()));
    if (!isOnnx) [...given, ...found].forEach(([, x]) => x.delete());  // not collected by itself
    return Object.fromEntries(found.map(([key], i) => [key, arrays[i]]));
  };
}

/** Returns a function that returns numbers in [0, 1) that float32 has. */
function generator(seed) {
  return () => {
    seed = (seed + 0x9e3779b9) | 0;
    let x = Math.imul(seed ^ (seed >>> 16), 0x85ebca6b);
    x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
    return ((x ^ (x >>> 16)) >>> 8) / 2 ** 24;
  };
}

/** Returns the events of a piece; the options are those of `sample` in sample.py. */
export async function sample(runtime, options = {}) {
  const model = JSON.parse(new TextDecoder().decode(await read('model.json')));
  const {temperature = 1, seed = Math.random() * 2 ** 32, steps = model.steps, ...about} = options;
  if (steps > (model.max_steps ?? steps)) throw RangeError(`steps: at most ${model.max_steps}`);
  const {primer = model.primer, uniforms, control, ...given} = about;
  const values = {temperature, ...given}, random = generator(seed), logits = [];
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  values.z ??= model.mean?.map((mean, i) => mean + model.deviation[i] * normal());
  for (const [name, {shape, dtype, fill}] of Object.entries(model.states)) {
    values[name] ??= new ARRAYS[dtype](shape.reduce((a, b) => a * b, 1)).fill(fill);
  }
  const call = async (name) => (await load(runtime, model, name))(values);
  if (model.functions.start) Object.assign(values, await call('start'));
  const step = await load(runtime, model, 'step'), first = model.first === null ? 1 : 0;
  const events = [...(first ? [] : [model.first]), ...primer];
  const isNumber = model.functions.step.inputs.event.shape.length === 1;
  for (let t = 0; t < steps - first; t++) {
    values.uniforms = uniforms?.[t] ?? Array.from({length: model.uniforms}, random);
    Object.assign(values, {event: events[t], position: t + first});
    if (control) values.control = control[t];
    const found = await step(values), drawn = found.next_event;
    for (const [name, x] of Object.entries(found)) values[name.replace('next_', '')] = x;
    logits.push(found.logits);
    if (events.length === t + 1) events.push(isNumber ? drawn[0] : [...drawn]);
    if (model.end !== null && events[t + 1] === model.end) break;
  }
  const piece = events.slice(1 - first);
  if (!model.functions.finish) return piece;
  Object.assign(values, {events: piece, logits});
  const {piece: whole} = await call('finish'), size = whole.length / piece.length;
  return piece.map((_, t) => [...whole.slice(t * size, (t + 1) * size)]);
}

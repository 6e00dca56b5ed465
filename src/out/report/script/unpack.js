// Reads what pack.rs wrote: base64, zlib, an index in JSON, and parts whose numbers lie byte by byte.
const NUMBERS = { u8: Uint8Array, u16: Uint16Array, u32: Uint32Array, i32: Int32Array, f32: Float32Array, f64: Float64Array };

function fromBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let at = 0; at < bytes.length; at += 1) bytes[at] = letters.charCodeAt(at);
  return bytes;
}

async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function gather(bytes, at, type, length) {
  const numbers = new NUMBERS[type](length);
  const target = new Uint8Array(numbers.buffer);
  const width = numbers.BYTES_PER_ELEMENT;
  for (let byte = 0; byte < width; byte += 1) {
    const plane = bytes.subarray(at + byte * length, at + (byte + 1) * length);
    for (let row = 0; row < length; row += 1) target[row * width + byte] = plane[row];
  }
  return numbers;
}

async function unpack(text) {
  if (typeof DecompressionStream === "undefined") {
    throw new Error("this browser cannot unpack them (it lacks DecompressionStream); Chrome 80, Firefox 113 and Safari 16.4 can");
  }
  const bytes = await inflate(fromBase64(text.trim()));
  const length = new DataView(bytes.buffer).getUint32(0, true);
  const { parts, index } = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  let at = 4 + length;
  const arrays = parts.map(({ type, length }) => {
    const numbers = gather(bytes, at, type, length);
    at += length * numbers.BYTES_PER_ELEMENT;
    return numbers;
  });
  return { index, arrays };
}

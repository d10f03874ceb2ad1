import { call } from 'springtide:runtime';

const names = ['md4', 'md5', 'sha1', 'sha256', 'sha384', 'sha512', 'sha512_224', 'sha512_256', 'ripemd160'];

function encoded(parts, encoding) {
  const bytes = call('hash', ...parts);
  switch (encoding) {
    case undefined: case null: case 'hex': return call('hex', bytes);
    case 'base64': return call('base64.encode', bytes, 'std');
    case 'base64url': return call('base64.encode', bytes, 'url');
    case 'base64rawurl': return call('base64.encode', bytes, 'rawurl');
    case 'binary': return bytes;
    default: throw new TypeError(`invalid output encoding: ${encoding}`);
  }
}

function joined(chunks) {
  if (chunks.length === 1) return chunks[0];
  const bytes = chunks.map((chunk) => new Uint8Array(typeof chunk === 'string' ? call('text.encode', chunk) : call('bytes', chunk)));
  const whole = new Uint8Array(bytes.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of bytes) { whole.set(part, at); at += part.length; }
  return whole.buffer;
}

class Hasher {
  #name; #key; #chunks = [];
  constructor(name, key) { this.#name = name; this.#key = key; }
  update(input) { this.#chunks.push(input); }
  digest(encoding) {
    const parts = [this.#name, this.#chunks.length === 0 ? '' : joined(this.#chunks)];
    if (this.#key !== undefined) parts.push(this.#key);
    return encoded(parts, encoding);
  }
}

function known(name) {
  if (!names.includes(name)) throw new TypeError(`invalid algorithm: ${name}`);
  return name;
}

const digest = (name) => (input, encoding) => encoded([name, input], encoding);
export const md4 = digest('md4');
export const md5 = digest('md5');
export const sha1 = digest('sha1');
export const sha256 = digest('sha256');
export const sha384 = digest('sha384');
export const sha512 = digest('sha512');
export const sha512_224 = digest('sha512_224');
export const sha512_256 = digest('sha512_256');
export const ripemd160 = digest('ripemd160');
export const createHash = (name) => new Hasher(known(name));
export const createHMAC = (name, key) => new Hasher(known(name), key);
export const hmac = (name, key, input, encoding) => encoded([known(name), input, key], encoding);
export const randomBytes = (size) => {
  if (!(size >= 1)) throw new TypeError('invalid size');
  return call('random.bytes', size);
};
export const hexEncode = (input) => call('hex', input);
export default {
  md4, md5, sha1, sha256, sha384, sha512, sha512_224, sha512_256, ripemd160, createHash, createHMAC, hmac, randomBytes, hexEncode,
};

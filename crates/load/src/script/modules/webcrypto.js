// The digest, HMAC and random parts of the Web Crypto API.
import { call } from 'springtide:runtime';

const hashes = { 'SHA-1': 'sha1', 'SHA-256': 'sha256', 'SHA-384': 'sha384', 'SHA-512': 'sha512' };
const blocks = { 'SHA-1': 64, 'SHA-256': 64, 'SHA-384': 128, 'SHA-512': 128 };

function refused(what) {
  const error = new Error(`crypto: ${what} is not supported; digest, HMAC and random values are`);
  error.name = 'NotSupportedError';
  return error;
}
function nameOf(algorithm) {
  return String(typeof algorithm === 'string' ? algorithm : algorithm?.name).toUpperCase();
}
function hashOf(algorithm) {
  const name = nameOf(algorithm);
  if (!(name in hashes)) throw refused(name);
  return name;
}

class CryptoKey {
  #bytes;
  constructor(algorithm, extractable, usages, bytes) {
    Object.assign(this, { type: 'secret', algorithm, extractable, usages: [...usages] });
    this.#bytes = bytes;
  }
  static bytes(key) { return key.#bytes; }
}

const hmacKey = (algorithm, extractable, usages, bytes) => {
  const hash = hashOf(algorithm.hash);
  return new CryptoKey({ name: 'HMAC', hash: { name: hash }, length: bytes.byteLength * 8 }, extractable, usages, bytes);
};
const url64 = { encode: (bytes) => call('base64.encode', bytes, 'rawurl'), decode: (text) => call('base64.decode', text, 'rawurl', false) };

const subtle = {
  async digest(algorithm, data) { return call('hash', hashes[hashOf(algorithm)], call('bytes', data)); },
  async generateKey(algorithm, extractable, usages) {
    if (nameOf(algorithm) !== 'HMAC') throw refused(`generateKey of ${nameOf(algorithm)}`);
    const size = algorithm.length === undefined ? blocks[hashOf(algorithm.hash)] : Math.ceil(algorithm.length / 8);
    return hmacKey(algorithm, extractable, usages, call('random.bytes', size));
  },
  async importKey(format, data, algorithm, extractable, usages) {
    if (nameOf(algorithm) !== 'HMAC') throw refused(`importKey of ${nameOf(algorithm)}`);
    if (format === 'raw') return hmacKey(algorithm, extractable, usages, call('bytes', data));
    if (format === 'jwk') return hmacKey(algorithm, extractable, usages, url64.decode(data.k));
    throw refused(`importKey from ${format}`);
  },
  async exportKey(format, key) {
    if (!key.extractable) { const error = new Error('the key is not extractable'); error.name = 'InvalidAccessError'; throw error; }
    const bytes = CryptoKey.bytes(key);
    if (format === 'raw') return call('bytes', bytes);
    if (format === 'jwk') return { kty: 'oct', k: url64.encode(bytes), alg: `HS${key.algorithm.hash.name.slice(4)}`, key_ops: key.usages, ext: true };
    throw refused(`exportKey to ${format}`);
  },
  async sign(algorithm, key, data) {
    if (nameOf(algorithm) !== 'HMAC') throw refused(`sign with ${nameOf(algorithm)}`);
    return call('hash', hashes[key.algorithm.hash.name], call('bytes', data), CryptoKey.bytes(key));
  },
  async verify(algorithm, key, signature, data) {
    const right = new Uint8Array(await subtle.sign(algorithm, key, data));
    const given = new Uint8Array(call('bytes', signature));
    return right.length === given.length && right.reduce((difference, byte, at) => difference | (byte ^ given[at]), 0) === 0;
  },
};
for (const name of ['encrypt', 'decrypt', 'deriveKey', 'deriveBits', 'wrapKey', 'unwrapKey']) {
  subtle[name] = async () => { throw refused(name); };
}

export const crypto = {
  subtle,
  getRandomValues(view) {
    const bytes = new Uint8Array(call('random.bytes', view.byteLength));
    new Uint8Array(view.buffer, view.byteOffset, view.byteLength).set(bytes);
    return view;
  },
  randomUUID() {
    const bytes = new Uint8Array(call('random.bytes', 16));
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    const hex = call('hex', bytes.buffer);
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
  },
  CryptoKey,
};
export default { crypto };

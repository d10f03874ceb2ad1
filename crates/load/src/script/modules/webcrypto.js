// The digest, HMAC and random parts of the Web Crypto API.
import { call } from 'springtide:runtime';

const hashes = { 'SHA-1': 'sha1', 'SHA-256': 'sha256', 'SHA-384': 'sha384', 'SHA-512': 'sha512' };
const blocks = { 'SHA-1': 64, 'SHA-256': 64, 'SHA-384': 128, 'SHA-512': 128 };

function named(name, message) {
  const error = new Error(`crypto: ${message}`);
  error.name = name;
  return error;
}
const refused = (what) => named('NotSupportedError', `${what} is not supported; digest, HMAC and random values are`);
/** Bytes of a buffer or view; a text is none. */
function bytesOf(data) {
  if (!(data instanceof ArrayBuffer) && !ArrayBuffer.isView(data)) throw named('TypeError', 'the data is neither an ArrayBuffer, nor a TypedArray nor DataView');
  return call('bytes', data);
}
function mayBeUsed(key, usage) {
  if (!key.usages.includes(usage)) throw named('InvalidAccessError', `the key may not be used to ${usage}`);
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

const hmac = (key, data) => call('hash', hashes[key.algorithm.hash.name], bytesOf(data), CryptoKey.bytes(key));

/** The most bytes that getRandomValues fills at once. */
const RANDOM_QUOTA = 65536;

const subtle = {
  async digest(algorithm, data) { return call('hash', hashes[hashOf(algorithm)], bytesOf(data)); },
  async generateKey(algorithm, extractable, usages) {
    if (nameOf(algorithm) !== 'HMAC') throw refused(`generateKey of ${nameOf(algorithm)}`);
    if (usages.length === 0) throw named('SyntaxError', 'a key needs a usage: sign or verify');
    const size = algorithm.length === undefined ? blocks[hashOf(algorithm.hash)] : Math.ceil(algorithm.length / 8);
    return hmacKey(algorithm, extractable, usages, call('random.bytes', size));
  },
  async importKey(format, data, algorithm, extractable, usages) {
    if (nameOf(algorithm) !== 'HMAC') throw refused(`importKey of ${nameOf(algorithm)}`);
    if (format === 'raw') return hmacKey(algorithm, extractable, usages, bytesOf(data));
    if (format === 'jwk') return hmacKey(algorithm, extractable, usages, url64.decode(data.k));
    throw refused(`importKey from ${format}`);
  },
  async exportKey(format, key) {
    if (!key.extractable) { throw named('InvalidAccessError', 'the key is not extractable'); }
    const bytes = CryptoKey.bytes(key);
    if (format === 'raw') return call('bytes', bytes);
    if (format === 'jwk') return { kty: 'oct', k: url64.encode(bytes), alg: `HS${key.algorithm.hash.name.slice(4)}`, key_ops: key.usages, ext: true };
    throw refused(`exportKey to ${format}`);
  },
  async sign(algorithm, key, data) {
    if (nameOf(algorithm) !== 'HMAC') throw refused(`sign with ${nameOf(algorithm)}`);
    mayBeUsed(key, 'sign');
    return hmac(key, data);
  },
  async verify(algorithm, key, signature, data) {
    if (nameOf(algorithm) !== 'HMAC') throw refused(`verify with ${nameOf(algorithm)}`);
    mayBeUsed(key, 'verify');
    const right = new Uint8Array(hmac(key, data));
    const given = new Uint8Array(bytesOf(signature));
    return right.length === given.length && right.reduce((difference, byte, at) => difference | (byte ^ given[at]), 0) === 0;
  },
};
for (const name of ['encrypt', 'decrypt', 'deriveKey', 'deriveBits', 'wrapKey', 'unwrapKey']) {
  subtle[name] = async () => { throw refused(name); };
}

export const crypto = {
  subtle,
  getRandomValues(view) {
    if (!/^(Big)?(Ui|I)nt/.test(view?.constructor?.name ?? '')) throw named('TypeMismatchError', 'getRandomValues fills arrays of whole numbers');
    if (view.byteLength > RANDOM_QUOTA) throw named('QuotaExceededError', `getRandomValues fills up to ${RANDOM_QUOTA} bytes at once`);
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

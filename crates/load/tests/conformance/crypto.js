// `k6/encoding`, `k6/crypto` and Web Crypto.
// rows: crypto.md4 crypto.md5 crypto.sha1 crypto.sha384 crypto.sha512 crypto.sha512_224 crypto.sha512_256 crypto.ripemd160
import encoding, { b64encode, b64decode } from 'k6/encoding';
import kcrypto from 'k6/crypto';
import { row, later, thrown } from './row.js';

const buffer = (...bytes) => new Uint8Array(bytes).buffer;
const hex = (bytes) => Array.from(new Uint8Array(bytes)).map((byte) => byte.toString(16).padStart(2, '0')).join('');
const data = new Uint8Array([1, 2, 3, 250]);
const names = ['md4', 'md5', 'sha1', 'sha256', 'sha384', 'sha512', 'sha512_224', 'sha512_256', 'ripemd160'];

export default async function () {
  row('encoding.b64encode', () => ['std', 'rawstd', 'url', 'rawurl', undefined].map((kind) => b64encode('hé?>~', kind)).concat(encoding.b64encode(buffer(255, 254, 1)), b64encode('')));
  row('encoding.b64encode', () => [b64encode('x', 'nonsense'), thrown(() => b64encode(5)), thrown(() => b64encode(undefined))]);
  row('encoding.b64decode', () => [b64decode('aMOpPz5-', 'url', 's'), b64decode('aMOp', 'std', 's'), b64decode('aMOp'), b64decode('aMOp', 'rawstd'), b64decode('', 'std', 's')]);
  row('encoding.b64decode', () => [thrown(() => b64decode('a')), thrown(() => b64decode('****')), thrown(() => b64decode('aA==', 'rawstd')), thrown(() => b64decode('aA', 'std'))]);
  for (const name of names) {
    row(`crypto.${name}`, () => ['hex', 'base64', 'base64url', 'base64rawurl', 'binary'].map((form) => kcrypto[name]('some text', form)));
    row(`crypto.${name}`, () => [kcrypto[name](data.buffer, 'hex'), thrown(() => kcrypto[name]('x', 'nonsense'))]);
    row('crypto.hmac crypto.createHMAC', () => { const made = kcrypto.createHMAC(name, 'key'); made.update('a'); made.update(data.buffer); return [kcrypto.hmac(name, 'key', 'data', 'hex'), kcrypto.hmac(name, buffer(1, 2), 'data', 'base64'), made.digest('hex')]; });
    row('crypto.createHash crypto.Hasher.update crypto.Hasher.digest', () => { const made = kcrypto.createHash(name); made.update('a'); const before = made.digest('hex'); made.update(data.buffer); return [before, made.digest('hex'), made.digest('base64')]; });
  }
  row('crypto.hmac', () => thrown(() => kcrypto.hmac('sha3', 'k', 'd', 'hex')));
  row('crypto.sha256', () => thrown(() => kcrypto.sha256(5, 'hex')));
  row('crypto.randomBytes', () => [kcrypto.randomBytes(16).byteLength, hex(kcrypto.randomBytes(8)) !== hex(kcrypto.randomBytes(8)), thrown(() => kcrypto.randomBytes(0)), thrown(() => kcrypto.randomBytes(-1))]);
  row('crypto.hexEncode', () => [kcrypto.hexEncode('ab'), kcrypto.hexEncode(data.buffer)]);

  const { subtle } = crypto;
  row('webcrypto.getRandomValues', () => { const view = new Uint32Array(4); const same = crypto.getRandomValues(view) === view; return [same, view.some((one) => one !== 0), thrown(() => crypto.getRandomValues(new Float32Array(1))), thrown(() => crypto.getRandomValues(new Uint8Array(65537)))]; });
  row('webcrypto.randomUUID', () => [/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(crypto.randomUUID()), crypto.randomUUID() !== crypto.randomUUID()]);
  for (const name of ['SHA-1', 'SHA-256', 'SHA-384', 'SHA-512', 'sha-256']) {
    await later('webcrypto.subtle.digest', async () => [hex(await subtle.digest(name, data)), hex(await subtle.digest({ name }, data.buffer))]);
  }
  await later('webcrypto.subtle.digest', () => subtle.digest('MD5', data).then(() => 'no', (error) => error.name));
  await later('webcrypto.subtle.digest', () => subtle.digest('SHA-256', 'text').then(() => 'no', () => 'refused'));
  const raw = await subtle.importKey('raw', data, { name: 'HMAC', hash: 'SHA-256' }, true, ['sign', 'verify']);
  await later('webcrypto.subtle.importKey webcrypto.CryptoKey', async () => [raw.type, raw.extractable, raw.usages, raw.algorithm.name, raw.algorithm.hash.name, raw.algorithm.length]);
  await later('webcrypto.subtle.exportKey', async () => [await subtle.exportKey('raw', raw), await subtle.exportKey('jwk', raw)]);
  await later('webcrypto.subtle.importKey', async () => { const key = await subtle.importKey('jwk', { kty: 'oct', k: 'AQID-g', alg: 'HS512', key_ops: ['sign'], ext: true }, { name: 'HMAC', hash: { name: 'SHA-512' } }, true, ['sign']); return [key.usages, hex(await subtle.sign('HMAC', key, data))]; });
  await later('webcrypto.subtle.sign', async () => [hex(await subtle.sign('HMAC', raw, data)), hex(await subtle.sign({ name: 'HMAC' }, raw, data.buffer))]);
  await later('webcrypto.subtle.verify', async () => { const signature = await subtle.sign('HMAC', raw, data); return [await subtle.verify('HMAC', raw, signature, data), await subtle.verify('HMAC', raw, signature, new Uint8Array([9])), await subtle.verify('HMAC', raw, buffer(1), data)]; });
  await later('webcrypto.subtle.generateKey', async () => { const key = await subtle.generateKey({ name: 'HMAC', hash: 'SHA-512' }, true, ['sign', 'verify']); const other = await subtle.generateKey({ name: 'HMAC', hash: { name: 'SHA-256' }, length: 256 }, true, ['sign']); return [key.type, (await subtle.exportKey('raw', key)).byteLength, (await subtle.exportKey('raw', other)).byteLength, key.usages]; });
  const hidden = await subtle.importKey('raw', data, { name: 'HMAC', hash: 'SHA-1' }, false, ['sign']);
  await later('webcrypto.subtle.exportKey', () => subtle.exportKey('raw', hidden).then(() => 'exported', (error) => error.name));
  await later('webcrypto.subtle.verify', () => subtle.verify('HMAC', hidden, buffer(1), data).then(() => 'done', (error) => error.name));
  await later('webcrypto.subtle.generateKey', () => subtle.generateKey({ name: 'HMAC', hash: 'SHA-256' }, true, []).then(() => 'made', (error) => error.name));
}

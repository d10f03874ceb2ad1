import { call } from 'springtide:runtime';

export class TextEncoder {
  get encoding() { return 'utf-8'; }
  encode(text = '') { return new Uint8Array(call('text.encode', String(text))); }
}
export class TextDecoder {
  constructor(label = 'utf-8') {
    if (!/^(utf-?8|unicode-1-1-utf-8)$/i.test(label)) throw new RangeError(`TextDecoder: ${label} is not supported; utf-8 is`);
  }
  get encoding() { return 'utf-8'; }
  decode(bytes) { return bytes === undefined ? '' : call('text.decode', bytes); }
}

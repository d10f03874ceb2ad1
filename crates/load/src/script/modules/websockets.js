import { call } from 'springtide:runtime';
import { start } from 'springtide:later';

export const BinaryType = Object.freeze({ Blob: 'blob', ArrayBuffer: 'arraybuffer' });

export class Blob {
  #bytes;
  constructor(parts = [], options = {}) {
    this.#bytes = parts.length === 0 ? new ArrayBuffer(0) : call('bytes.join', parts.map((part) => (part instanceof Blob ? part.#bytes : part)));
    this.type = options.type ?? '';
    this.size = this.#bytes.byteLength;
  }
  async text() { return call('text.decode', this.#bytes); }
  async arrayBuffer() { return this.#bytes; }
  async bytes() { return new Uint8Array(this.#bytes); }
  slice(from, to, type) { return new Blob([this.#bytes.slice(from, to)], { type }); }
  static bytes(blob) { return blob.#bytes; }
}
globalThis.Blob ??= Blob;

const events = ['open', 'message', 'error', 'close', 'ping', 'pong'];

export class WebSocket {
  #id; #listeners = {}; #binaryType = 'blob'; #waiting = 0;
  constructor(url, protocols, params) {
    this.url = String(url);
    this.readyState = 0;
    this.protocol = '';
    this.extensions = [];
    this.bufferedAmount = 0;
    for (const event of events) { this[`on${event}`] = null; this.#listeners[event] = []; }
    const list = protocols === undefined || protocols === null ? [] : Array.isArray(protocols) ? protocols : [protocols];
    this.#id = start((kind, ...values) => this.#take(kind, values), 'socket.open', this.url, params ?? undefined, list.map(String).join(', '), true);
  }
  get binaryType() { return this.#binaryType; }
  set binaryType(type) {
    if (type !== 'blob' && type !== 'arraybuffer') throw new TypeError(`unsupported binaryType ${type}, it can be "blob" or "arraybuffer"`);
    this.#binaryType = type;
  }
  addEventListener(type, listener) {
    if (typeof listener !== 'function') throw new TypeError('a function is expected as listener');
    if (events.includes(type)) this.#listeners[type].push(listener);
    else console.warn(`can't add event handler: unknown event type: ${type}`);
  }
  removeEventListener(type, listener) { this.#listeners[type] = (this.#listeners[type] ?? []).filter((one) => one !== listener); }
  send(data) {
    if (this.readyState !== 1) {
      const error = new Error('the websocket is not open: readyState is not 1');
      error.name = 'InvalidStateError';
      throw error;
    }
    call('socket.send', this.#id, data instanceof Blob ? Blob.bytes(data) : data);
  }
  close(code = 1000, reason = '') {
    if (this.readyState >= 2) return;
    this.readyState = 2;
    call('socket.close', this.#id, code, reason);
  }
  ping() { call('socket.ping', this.#id); }
  #tell(type, more = {}) {
    const event = { type, target: this, timestamp: Date.now(), ...more };
    const handler = this[`on${type}`];
    if (typeof handler === 'function') handler.call(this, event);
    for (const listener of this.#listeners[type]) listener.call(this, event);
  }
  #take(kind, [first, second]) {
    switch (kind) {
      case 'open': this.readyState = 1; this.protocol = second; this.#tell('open'); break;
      case 'text': this.#tell('message', { data: first, origin: this.url }); break;
      case 'binary': this.#tell('message', { data: this.#binaryType === 'arraybuffer' ? first : new Blob([first]), origin: this.url }); break;
      case 'ping': case 'pong': this.#tell(kind); break;
      case 'error': this.readyState = 3; this.#tell('error', { error: first }); break;
      case 'close': this.readyState = 3; this.#tell('close', { code: first, reason: second }); break;
    }
  }
}
for (const [state, number] of [['CONNECTING', 0], ['OPEN', 1], ['CLOSING', 2], ['CLOSED', 3]]) {
  Object.defineProperty(WebSocket, state, { value: number, enumerable: true });
  Object.defineProperty(WebSocket.prototype, state, { value: number, enumerable: true });
}
export default { WebSocket, Blob, BinaryType };

// The callback interface: connect() returns when the socket is closed.
import { call } from 'springtide:runtime';
import { start, forget } from 'springtide:later';

export function connect(url, params, body) {
  if (typeof params === 'function') { body = params; params = undefined; }
  if (typeof body !== 'function') throw new TypeError('ws.connect: last argument to ws.connect must be a function');
  const queue = [];
  const id = start((...event) => queue.push(event), 'socket.open', String(url), params ?? undefined, '');
  const listeners = {};
  const timers = [];
  let open = false;
  let closed = false;
  let failure;
  let answer;
  const tell = (name, ...values) => { for (const listener of listeners[name] ?? []) listener(...values); };
  const socket = {
    on(name, listener) { (listeners[name] ??= []).push(listener); },
    send: (text) => call('socket.send', id, String(text)),
    sendBinary(bytes) {
      if (!(bytes instanceof ArrayBuffer)) throw new TypeError('expected ArrayBuffer as argument');
      call('socket.send', id, bytes);
    },
    ping: () => call('socket.ping', id),
    close(code = 1001) {
      if (closed) return;
      closed = true;
      call('socket.close', id, code, '');
      tell('close', code);
    },
    setTimeout(callback, delay) {
      if (!(delay > 0)) throw new TypeError('setTimeout requires a >0 timeout parameter');
      timers.push(setTimeout(callback, delay));
    },
    setInterval(callback, delay) {
      if (!(delay > 0)) throw new TypeError('setInterval requires a >0 timeout parameter');
      timers.push(setInterval(callback, delay));
    },
    setLoop(callback) { socket.setInterval(callback, 1); },
  };
  const take = ([kind, first, second, status, headers]) => {
    switch (kind) {
      case 'open':
        open = true;
        answer = { url: String(url), status, headers: JSON.parse(headers), body: '', error: '' };
        body(socket);
        tell('open');
        break;
      case 'text': tell('message', first); break;
      case 'binary': tell('binaryMessage', first); break;
      case 'ping': tell('ping'); break;
      case 'pong': tell('pong'); break;
      case 'error':
        failure = first;
        answer ??= { url: '', status, headers: JSON.parse(headers), body: second, error: status > 0 ? '' : first };
        if (open) tell('error', { error: () => first, toString: () => first });
        break;
      case 'close': if (open && !closed) { closed = true; tell('close', first); } return true;
    }
    return false;
  };
  try {
    let done = false;
    while (!done) {
      if (queue.length === 0) call('socket.wait');
      while (queue.length > 0 && !done) done = take(queue.shift());
    }
  } finally {
    timers.forEach((timer) => clearTimeout(timer));
    forget(id);
  }
  if (!open) {
    if (call('socket.throws')) throw new Error(failure);
    return answer;
  }
  return answer;
}
export default { connect };

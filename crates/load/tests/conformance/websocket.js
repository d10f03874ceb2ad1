// `k6/ws` and `k6/experimental/websockets`.
// json
import ws from 'k6/ws';
import http from 'k6/http';
import { WebSocket, Blob } from 'k6/experimental/websockets';
import { row, thrown } from './row.js';

const url = `${__ENV.URL.replace('http', 'ws')}/ws`;
const inInit = thrown(() => ws.connect(url, null, () => {}));

export default function () {
  if (__ITER === 0) callbacks(); else events();
}
export const options = { vus: 1, iterations: 2 };

function callbacks() {
  const seen = [];
  const answer = ws.connect(url, { headers: { 'X-A': 'b' }, tags: { of: 'socket' } }, (socket) => {
    socket.on('open', () => { seen.push('open'); socket.send('hello'); socket.sendBinary(new Uint8Array([1, 2]).buffer); });
    socket.on('message', (text) => { seen.push(`message ${text}`); socket.ping(); });
    socket.on('binaryMessage', (bytes) => seen.push(`binary ${new Uint8Array(bytes).join()}`));
    // It is closed when all that it waits for was seen.
    let left = 2;
    const one = () => { left -= 1; if (left === 0) socket.setTimeout(() => { seen.push('timeout'); socket.close(); }, 30); };
    socket.on('pong', () => { seen.push('pong'); one(); });
    socket.on('close', () => seen.push('close'));
    socket.on('error', (error) => seen.push(`error ${error.error()}`));
    let ticks = 0;
    socket.setInterval(() => { ticks += 1; if (ticks === 2) { seen.push('two ticks'); one(); } }, 8);
    row('ws.Socket.setTimeout ws.Socket.setInterval', () => [thrown(() => socket.setTimeout(() => {}, 0)), thrown(() => socket.setInterval(() => {}, -1))]);
    row('ws.Socket.sendBinary', () => [thrown(() => socket.sendBinary('text')), thrown(() => socket.sendBinary())]);
  });
  row('ws.connect ws.Response', () => [inInit, answer.status, Object.keys(answer).filter((name) => ['url', 'status', 'headers', 'body', 'error'].includes(name)).sort(), answer.headers.Upgrade, answer.error, answer.body]);
  row('ws.Socket.on ws.Socket.send ws.Socket.sendBinary ws.Socket.ping ws.Socket.setTimeout ws.Socket.setInterval ws.Socket.close', () => seen.sort());
  row('ws.connect', () => { const refused = ws.connect('ws://127.0.0.1:1/', null, () => {}); return [refused.status, refused.error.length > 0]; });
  row('ws.connect', () => { const plain = ws.connect(url.replace('/ws', '/status/404'), null, () => {}); return [plain.status, plain.error]; });
  row('ws.connect', () => [thrown(() => ws.connect()), thrown(() => ws.connect(url, {})), ws.connect(url, (socket) => { socket.close(); }).status]);
  row('ws.Params.jar', () => { const jar = new http.CookieJar(); jar.set(__ENV.URL, 'a', 'b'); return ws.connect(url, { jar }, (socket) => socket.close()).status; });
  row('ws.Params.tags ws.Params.headers', () => ws.connect(url, { tags: { name: 'a name', n: 5 }, headers: { 'X-A': 'b' } }, (socket) => socket.close(1000)).status);
  const order = [];
  ws.connect(url, null, (socket) => { order.push('callback'); socket.on('open', () => { order.push('open'); socket.close(3001); order.push('after close'); }); socket.on('close', (code) => order.push(`close ${code}`)); });
  row('ws.Socket.close', () => order);
  for (const query of ['?close=1000', '?close=1001', '?close=1011', '?close=4001', '?drop']) {
    const told = [];
    ws.connect(url + query, null, (socket) => { socket.on('error', (error) => told.push(`error ${error.error()}`)); socket.on('close', (code) => told.push(`close ${code}`)); });
    row('ws.Socket.on', () => [query, told]);
  }
  row('ws.Socket.close', () => { let code; ws.connect(url, null, (socket) => { socket.on('open', () => socket.close()); socket.on('close', (given) => { code = given; }); }); return code; });
  row('ws.connect', () => [url.replace('ws:', 'http:'), 'ws://127.0.0.1:1/', url.replace('/ws', '/status/404'), 'nonsense'].map((bad) => { const { url: at, status, error, body } = ws.connect(bad, null, () => {}); return [at, status, error, body]; }));
  row('ws.exception', () => ws.connect(url, null, (socket) => { socket.on('open', () => { throw new Error('in a listener'); }); }).status);
}

function events() {
  const seen = [];
  const socket = new WebSocket(url, null, { tags: { of: 'events' } });
  row('websockets.WebSocket.url websockets.WebSocket.readyState websockets.WebSocket.binaryType', () => [socket.url === url, socket.readyState, socket.bufferedAmount, socket.protocol, socket.extensions, socket.binaryType]);
  row('websockets.WebSocket.send', () => thrown(() => socket.send('too early')));
  row('websockets.WebSocket', () => [thrown(() => new WebSocket('http://127.0.0.1/')), thrown(() => new WebSocket('nonsense')), thrown(() => new WebSocket())]);
  row('websockets.WebSocket.binaryType', () => { const refused = thrown(() => { socket.binaryType = 'other'; }); socket.binaryType = 'arraybuffer'; return [refused, socket.binaryType]; });
  socket.onopen = (event) => { seen.push(`open ${event.type} ${socket.readyState}`); socket.send('text'); socket.send(new Uint8Array([1, 2]).buffer); socket.ping(); };
  let left = 3;
  const one = () => { left -= 1; if (left === 0) setTimeout(() => socket.close(1000), 30); };
  socket.onmessage = (event) => { seen.push(`message ${typeof event.data === 'string' ? event.data : new Uint8Array(event.data).join()}`); one(); };
  const removed = () => seen.push('never');
  socket.addEventListener('message', (event) => { if (event.data === 'text') seen.push(`listener ${event.type}`); });
  socket.onping = () => seen.push('ping');
  socket.onpong = (event) => { seen.push(`pong ${event.type}`); one(); };
  socket.onerror = (event) => seen.push(`error ${event.type}`);
  socket.onclose = (event) => {
    seen.push(`close ${event.type} ${socket.readyState}`);
    row('websockets.WebSocket.onopen websockets.WebSocket.onmessage websockets.WebSocket.onclose websockets.WebSocket.onpong websockets.WebSocket.addEventListener websockets.WebSocket.send websockets.WebSocket.close websockets.WebSocket.ping websockets.Blob', () => seen.sort());
  };
  row('websockets.WebSocket.addEventListener', () => [thrown(() => socket.addEventListener('nonsense', removed)), thrown(() => socket.addEventListener('message'))]);
  const ends = [['refused', 'ws://127.0.0.1:1/'], ['not found', url.replace('/ws', '/status/404')], ['1000', `${url}?close=1000`], ['4001', `${url}?close=4001`], ['drop', `${url}?drop`]];
  const next = () => {
    if (ends.length === 0) return;
    const [name, bad] = ends.shift();
    const told = [];
    const ended = new WebSocket(bad);
    ended.onerror = (event) => told.push(`error ${event.error} ${ended.readyState}`);
    ended.onclose = () => { row('websockets.WebSocket.onerror websockets.WebSocket.onclose', () => [name, told, ended.readyState]); next(); };
  };
  setTimeout(next, 300);
  const lost = new WebSocket('ws://127.0.0.1:1/');
  lost.onerror = (event) => row('websockets.WebSocket.onerror', () => [event.type, typeof event.error, lost.readyState]);
  row('websockets.Blob', () => { const blob = new Blob(['ab', new Uint8Array([99])], { type: 'text/x' }); return [blob.size, blob.type]; });
  new Blob(['a', 'b']).text().then((text) => row('websockets.Blob', () => text));
}

// What calls give, written to the console: the same under k6 and under this crate.
import http from 'k6/http';
import { check, group } from 'k6';
import exec from 'k6/execution';
import crypto from 'k6/crypto';
import encoding from 'k6/encoding';
const out = (...v) => console.log(v.map((x) => (typeof x === 'string' ? x : JSON.stringify(x))).join(' '));
export default function () {
  const u = __ENV.URL;
  let r = http.get(u);
  out('url', r.url === u, r.status_text, r.proto, r.error, r.error_code);
  out('timings', Object.keys(r.timings).sort().join());
  out('request', r.request.method, r.request.url === u, Object.keys(r.request).sort().join(), r.request.headers['User-Agent'] !== undefined);
  r = http.post(u + '/x', { b: 'x y', a: ['1', '2'], c: 1.5, d: true, 'ü': '!*()' });
  out('form', r.json().body, r.json().headers['content-type']);
  r = http.post(u + '/x', JSON.stringify({ a: 1 }));
  out('text', r.json().body, r.json().headers);
  r = http.get(u + '/redirect/3');
  out('redirect', r.status, r.url.replace(u, ''), r.body, r.request.url.replace(u,''));
  r = http.get(u + '/redirect/3', { redirects: 1 });
  out('redirects1', r.status, r.url.replace(u, ''));
  r = http.get(u + '/redirect/3', { redirects: 0 });
  out('redirects0', r.status, r.url.replace(u, ''), r.error_code, r.headers.Location);
  r = http.get(u + '/status/404');
  out('404', r.status, r.error, r.error_code, r.body);
  r = http.get('http://127.0.0.1:1/');
  out('refused', r.status, r.error, r.error_code, r.body, r.url, r.status_text, r.proto, r.headers, r.timings.duration);
  r = http.batch([u + '/1', ['POST', u + '/2', 'b'], { method: 'PUT', url: u + '/3', body: 'c' }]);
  out('batch', r.map((x) => x.json().method + x.json().path + x.json().body));
  r = http.batch({ one: u + '/1', two: ['GET', u + '/2'] });
  out('batch2', Object.keys(r).sort(), r.two.json('path'));
  r = http.del(u + '/d', null, { headers: { 'X-A': 'b' }, cookies: { c: 'd', e: { value: 'f', replace: true } }, tags: { t: '1' } });
  out('del', r.json().method, r.json().headers['x-a'], r.json().headers.cookie.split('; ').sort());
  r = http.get(http.url`${u}/t/${5}`);
  out('tagged', r.status, r.url.replace(u, ''));
  r = http.get(u.replace('http://', 'http://me:se%20cret@') + '/auth');
  out('auth', r.json().headers.authorization);
  r = http.get(u + '/sp%20ace?q=1');
  out('escape', r.json().path, r.url.replace(u, ''));
  const jar = http.cookieJar(); jar.set(u, 'k', 'v'); 
  out('jar', jar.cookiesForURL(u), http.get(u).json().headers.cookie);
  out('check', check(r, { a: (x) => true, b: (x) => 0, c: 'text' }));
  try { check(r, { a: () => { throw new Error('in check'); } }); } catch (e) { out('check throws', e.message); }
  try { group('x::y', () => {}); } catch (e) { out('group', e.message); }
  out('group', group('g', () => 5));
  out('crypto', crypto.md5('a', 'hex'), crypto.hmac('sha256', 'k', 'd', 'base64'), crypto.sha1('x', 'base64url'), (() => { const h = crypto.createHash('sha256'); h.update('a'); h.update('b'); return h.digest('hex'); })());
  out('enc', encoding.b64encode('hé?>'), encoding.b64encode('hé?>', 'rawurl'), encoding.b64decode('aMOp', 'std', 's'), new Uint8Array(encoding.b64decode('aMOp')).length);
  exec.vu.tags.mine = 'x'; out('tags', Object.keys(exec.vu.tags).sort(), exec.vu.tags.mine);
  try { exec.vu.tags.bad = {}; out('tag ok') } catch (e) { out('tag', e.name); }
  out('json', http.get(u + '/j').json('headers.accept') === undefined, typeof http.get(u + '/j').json('path'));
  out('head', http.head(u).body, http.options(u).json().method, http.patch(u, 'p').json().body);
  r = http.post(u, { f: http.file('data', 'a.txt', 'text/plain'), g: 'h' });
  out('multipart', r.json().headers['content-type'].replace(/boundary=.*/, ''), r.json().body.replace(/--[0-9a-f]{20,}/g, 'B'));
  out('none', http.get(u, { responseType: 'none' }).body, new Uint8Array(http.get(u + '/redirect/0', { responseType: 'binary' }).body).length);
  out('gzip', http.post(u, 'aaaa', { compression: 'gzip' }).json().headers['content-encoding']);
  out('timeout', http.get(u + '/delay/2000', { timeout: 50 }).error_code);
  console.log('obj', { a: 1 }, [1], null, undefined, 1.5, true, new Error('e').message);
}

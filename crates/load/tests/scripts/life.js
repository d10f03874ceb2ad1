// How a script lives, written to the console: the same under k6 and under this crate.
import http from 'k6/http';
import { Counter, Rate, Trend, Gauge } from 'k6/metrics';
import { SharedArray } from 'k6/data';
const c = new Counter('cc'); 
const data = new SharedArray('d', () => [{ a: 1 }, { a: 2 }]);
const t = (name, f) => { try { console.log(name, JSON.stringify(f())); } catch (e) { console.log(name, 'threw', e.name); } };
export const options = { tags: { all: 'x' } };
t('init env', () => [typeof __ENV.URL, __VU, typeof __ITER]);
t('open missing', () => { try { return open('./nope.txt'); } catch { return 'refused'; } });
export function setup() { console.log('setup', __VU, typeof __ITER); return { a: [1, { b: 2 }] }; }
export default async function (d) {
  t('data', () => d);
  t('shared', () => [data.length, data[1], data[5] === undefined, data.map((x) => x.a), Array.isArray(data)]);
  t('shared write', () => { data[0] = 1; });
  t('shared frozen', () => { data[0].a = 5; return data[0].a; });
  t('add', () => [c.add(1), c.add('2'), c.add('x'), c.add(-1), c.add(null), c.add()]);
  t('init only', () => { try { return new Counter('dd'); } catch (e) { return e.message; } });
  t('open', () => { try { return open('a'); } catch (e) { return e.message.slice(0, 40); } });
  const order = [];
  const p = http.asyncRequest('GET', __ENV.URL + '/a').then((r) => { order.push('r' + r.status); });
  setTimeout(() => order.push('t0'), 0);
  Promise.resolve().then(() => order.push('m1')).then(() => order.push('m2'));
  order.push('sync');
  await p;
  t('order', () => order.filter((x) => x !== 't0'));
  t('globals', () => [typeof setTimeout, typeof crypto, typeof require, typeof global]);
  console.log(await crypto.subtle.digest('SHA-256', new Uint8Array([1])).then((b) => b.byteLength), crypto.randomUUID().length);
  throw new TypeError('end');
}
export function teardown(d) { t('teardown', () => d); }

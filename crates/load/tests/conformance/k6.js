// The module `k6`, globals, the console, the order of promises and timers.
// json
import k6, { check, fail, group, randomSeed, sleep } from 'k6';
import * as all from 'k6';
import * as timers from 'k6/timers';
import { clearInterval as stop, clearTimeout as forget, setInterval as repeat, setTimeout as wait } from 'k6/timers';
import { get, nothing, call as alsoNothing } from 'k6/http';
import { row, later, thrown } from './row.js';
import { opened, location, read } from './data/helpers/files.js';

const secret = open('./data/words.txt');
const bytes = open('./data/words.txt', 'b');
const missing = thrown(() => open('./data/missing.txt'));
const byHelper = [opened, read('./data/words.txt') === secret, thrown(() => read('./beside.txt')), location.split('/').slice(-3), open(import.meta.resolve('./data/helpers/../words.txt')) === secret, thrown(() => import.meta.resolve('k6/http'))];
const inInit = [sleep(0.001), thrown(() => check(1, { early: true }))];
const required = typeof require('k6').check;
const init = [typeof __ENV.URL, __VU >= 0, typeof __ITER];

export const options = { vus: 1, iterations: 2, thresholds: { checks: ['rate>0'] } };

export default async function () {
  row('life.__ENV life.__VU life.__ITER', () => [init, __ENV.NOTHING, __VU, __ITER]);
  if (__ITER === 1) {
    row('k6.fail life.exception', () => 'the next one throws');
    fail('no luck');
  }
  row('k6.check', () => check({ a: 1 }, { 'is one': (v) => v.a === 1, 'is not': (v) => v.a === 2, 'plain': true, 'text': 'x', 'zero': 0 }));
  row('k6.check', () => check(null, { 'all good': () => true }, { mine: 'tag' }));
  row('k6.check', () => check(1, {}));
  row('k6.check', () => check(1, { 'throws': () => { throw new Error('inside'); } }));
  row('k6.check', () => thrown(() => check(1)));
  row('k6.group', () => group('outer', () => group('inner', () => { check(1, { deep: true }); return 'back'; })));
  row('k6.group', () => group('throws', () => { throw new Error('from the group'); }));
  row('k6.group', () => thrown(() => group('with :: inside', () => 1)));
  row('k6.group', () => thrown(() => group('no function')));
  row('k6.group', () => thrown(() => group('async', async () => 1)));
  row('k6.sleep', () => { const start = Date.now(); sleep(0.05); return [Date.now() - start >= 49, sleep(0), sleep(-1)]; });
  row('k6.randomSeed', () => { randomSeed(7); const a = [Math.random(), Math.random()]; randomSeed(7); const b = [Math.random(), Math.random()]; return a.join() === b.join() && a[0] !== a[1] && a[0] >= 0 && a[0] < 1; });
  row('k6.fail', () => fail('a reason'));
  row('k6.fail', () => fail());
  row('life.import', () => [Object.keys(all).filter((name) => name !== 'default').sort(), typeof k6.check, required]);
  row('life.open', () => [secret, new Uint8Array(bytes).length, missing, thrown(() => open('./data/words.txt'))]);
  row('global.console', () => [console.log('global.console:', 'text', 1, 1.5, true, null, undefined, { a: [1, { b: 2 }] }, [1, 'x']), console.info('info'), console.warn('warn'), console.error('error'), console.debug('debug')]);
  row('global.console', () => console.log('global.console:', NaN, Infinity, -Infinity, -0, [NaN], () => 1, class A {}));
  row('life.open', () => byHelper);
  row('life.import', () => [typeof get, nothing, alsoNothing]);
  row('k6.sleep k6.check', () => inInit);
  row('global.console', () => console.log('global.console: %s %d', 'a', 1));
  row('global.console', () => { console.log(); console.log('global.console:', new Error('shown').message, Symbol.iterator.toString()); });
  row('global.globalThis', () => [global === globalThis, typeof globalThis.setTimeout, typeof window]);
  row('timers.setTimeout timers.clearTimeout timers.setInterval timers.clearInterval', () => Object.keys(timers).filter((name) => name !== 'default').sort().map((name) => timers[name] === globalThis[name]));
  row('timers.setTimeout timers.clearTimeout timers.setInterval timers.clearInterval', () => [wait === setTimeout, forget === clearTimeout, repeat === setInterval, stop === clearInterval]);
  row('timers.setTimeout', () => [thrown(() => setTimeout()), thrown(() => setTimeout('code')), thrown(() => setInterval(1)), clearTimeout(12345), clearInterval(undefined)]);

  const order = [];
  const note = (what) => order.push(what);
  let finish;
  const done = new Promise((resolve) => { finish = resolve; });
  setTimeout(() => note('timer 200'), 200);
  setTimeout(note, 100, 'with arguments');
  setTimeout(() => { note('timer 0'); Promise.resolve().then(() => note('job of a timer')); }, 0);
  setTimeout(() => note('second timer 0'), 0);
  const cancelled = setTimeout(() => note('never'), 1);
  clearTimeout(cancelled);
  let ticks = 0;
  const interval = setInterval(() => { ticks += 1; note(`tick ${ticks}`); if (ticks === 2) { clearInterval(interval); finish(); } }, 300);
  Promise.resolve().then(() => note('job 1')).then(() => note('job 2'));
  (async () => { note('async begins'); await null; note('async goes on'); })();
  note('main');
  await done;
  row('async.order timers.setTimeout timers.setInterval timers.clearTimeout timers.clearInterval', () => order);
  await later('async.await', async () => { throw new TypeError('rejected'); });
  await later('async.await', () => Promise.all([1, Promise.resolve(2)]));
  await later('async.await', () => Promise.allSettled([Promise.reject(new Error('no')), 1]).then((all) => all.map((one) => one.status)));

}

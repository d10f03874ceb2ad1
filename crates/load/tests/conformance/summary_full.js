// The full summary: results of each scenario and of each group, which stand in any order in k6's.
// sorted
// env: K6_SUMMARY_MODE=full
// summary
// rows: env.K6_SUMMARY_MODE summary.full summary.setup
import http from 'k6/http';
import exec from 'k6/execution';
import { check, group } from 'k6';
import { Counter, Gauge, Rate, Trend } from 'k6/metrics';

const kinds = { Counter: new Counter('Counted'), counted_more: new Counter('counted_more'), gauge: new Gauge('gauge', true), rate: new Rate('rate'), trend: new Trend('trend') };
// Their names say in which section they stand, or that they stand in none.
const elsewhere = ['http_reqs_of_mine', 'http_others', 'iterations_of_mine', 'checks_of_mine', 'group_duration_of_mine', 'data_sent_of_mine', 'browser_mine', 'browser_web_vital_mine', 'grpc_mine', 'ws_mine'].map((name) => new Counter(name));

/** One after the other, so that it is the same in every run what is seen first. */
const one = (exec, startTime = '0s') => ({ executor: 'per-vu-iterations', vus: 1, iterations: 2, exec, startTime });

export const options = {
  scenarios: { zone: one('zone'), area: one('area', '2s'), default: one('unnamed', '4s') },
  thresholds: { 'trend{kind:odd}': ['p(99)<5', 'max>1'], gauge: ['value<1'], 'counted_more{kind:odd}': ['count<5'], counted_more: ['rate>0', 'count>1000'], 'counted_more{kind:of ${}}': ['count==0'], rate: ['rate>0.5'] },
};

export function setup() {
  check(1, { 'in setup': true });
  group('prepared', () => check(1, { 'in a group of setup': true }));
}

export function zone() {
  check(1, { 'in no group': true });
  group('outer', () => {
    http.get(`${__ENV.URL}/echo`);
    check(1, { shared: exec.vu.iterationInScenario === 0, 'outer only': true });
    group('inner one', () => { check(1, { shared: true, never: false }); kinds.trend.add(2, { kind: 'odd' }); });
  });
  kinds.rate.add(exec.vu.iterationInScenario);
}

export function area() {
  kinds.trend.add(1, { kind: 'odd' });
  kinds.trend.add(1.5);
  kinds.gauge.add(1500);
  kinds.counted_more.add(1, { kind: 'odd' });
  kinds.Counter.add(1.23456789);
}

export function unnamed() {
  group('setup', () => check(1, { 'in a group named setup': true }));
  group('of the unnamed', () => group('within', () => kinds.trend.add(4)));
  group('empty', () => {});
  for (const metric of elsewhere) metric.add(1);
}

// Metrics of a script's own, thresholds of every form, and what the summary says of them.
// json
// sorted
// rows: threshold.p threshold.avg threshold.min threshold.max threshold.med threshold.count threshold.rate threshold.value
// rows: threshold.sub-metric threshold.operators threshold.list threshold.long-form threshold.delayAbortEval
// rows: summary.export summary.handleSummary option.summaryTrendStats option.thresholds
import { Counter, Gauge, Rate, Trend } from 'k6/metrics';
import { check } from 'k6';
import { row, shown, thrown } from './row.js';

const counter = new Counter('counter');
const gauge = new Gauge('gauge');
const rate = new Rate('rate');
const trend = new Trend('trend');
const time = new Trend('time', true);
const bytes = new Counter('bytes_of_mine', true);
const never = new Trend('never');
const again = new Counter('counter');
const init = [thrown(() => new Counter('gauge')), thrown(() => new Counter('bad name!')), thrown(() => new Counter('')), thrown(() => new Counter()), thrown(() => counter.add(1))];

export const options = {
  vus: 2,
  iterations: 10,
  summaryTrendStats: ['avg', 'min', 'med', 'max', 'p(50)', 'p(90)', 'p(99.9)', 'count'],
  thresholds: {
    trend: ['avg<100', 'min>=1', 'max<=10', 'med==3', 'p(90)<5', 'p(99.9)>3', 'p(50) < 1000', 'avg===3', 'avg!=4', 'avg>3'],
    counter: ['count>=20', 'count==20', 'rate>0', 'count<5'],
    gauge: ['value==7', 'value>7'],
    rate: ['rate<0.6', 'rate>0.4', 'rate==0.5'],
    'trend{kind:odd}': ['max==5', 'min>1'],
    'trend{kind:none}': ['max<1', 'avg>=0'],
    'counter{a:1,b:2}': ['count==10'],
    checks: [{ threshold: 'rate>0.5', abortOnFail: false }, { threshold: 'rate>0.1', abortOnFail: true, delayAbortEval: '10s' }],
    iterations: ['count==10'],
    never: ['avg<1'],
    http_reqs: ['count==0'],
  },
};

export default function () {
  row('metrics.Counter metrics.Gauge metrics.Rate metrics.Trend', () => [init, counter.name, gauge.name, rate.name, trend.name, again.name]);
  row('metrics.Counter.add', () => [counter.add(1), counter.add(1, { a: '1', b: 2 }), counter.add(0)]);
  row('metrics.Gauge.add', () => [gauge.add(3), gauge.add(7)]);
  row('metrics.Rate.add', () => [rate.add(true), rate.add(false), rate.add(1), rate.add(0), rate.add(5), rate.add('')]);
  row('metrics.Trend.add', () => [trend.add(1), trend.add(2, { kind: 'even' }), trend.add(3, { kind: 'odd' }), trend.add(4), trend.add(5, { kind: 'odd' }), time.add(1500), time.add(0.5)]);
  row('metrics.Counter.add', () => [counter.add(-1), counter.add('x'), counter.add(NaN), counter.add(null), counter.add(), counter.add({}), bytes.add(1000)]);
  row('metrics.Trend.add', () => [trend.add('3'), trend.add(true), trend.add('nonsense')]);
  row('metrics.Counter.add', () => [thrown(() => counter.add(1, { bad: { a: 1 } })), thrown(() => counter.add(1, { fine: null }))]);
  row('metrics.Counter', () => thrown(() => new Counter('late')));
  check(1, { good: true, bad: false, 'half': () => __ITER % 2 === 0 || true });
}

export function handleSummary(data) {
  const values = (name) => data.metrics[name].values;
  const lines = [];
  const say = (name, value) => lines.push(`${name}: ${shown(value)}`);
  say('summary.handleSummary', [Object.keys(data).sort(), Object.keys(data.state).sort(), Object.keys(data.options).sort(), data.options.summaryTrendStats, data.options.summaryTimeUnit, data.options.noColor, data.state.isStdOutTTY, data.state.testRunDurationMs > 0]);
  say('summary.handleSummary', data.root_group);
  for (const name of Object.keys(data.metrics).sort()) {
    const metric = data.metrics[name];
    if (name.startsWith('vus') || name.startsWith('data_')) continue;
    say('summary.handleSummary', [name, metric.type, metric.contains, Object.keys(metric.values).sort(), metric.thresholds]);
  }
  say('metrics.Trend', values('trend'));
  say('metrics.Trend', values('trend{kind:odd}'));
  say('metrics.Trend', values('time'));
  say('metrics.Gauge', values('gauge'));
  say('metrics.Rate', values('rate'));
  say('metrics.Counter', [values('counter').count, values('counter{a:1,b:2}').count, values('bytes_of_mine').count]);
  return { stdout: `${lines.join('\n')}\n` };
}

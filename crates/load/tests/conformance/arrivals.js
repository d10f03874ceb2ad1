// The open executors: when iterations arrive, and what becomes of those that nobody is free for. There are
// users enough for a machine that stands still for a while.
// counts: vary by one, as the definition of an arrival rate lets them
// rows: executor.constant-arrival-rate executor.ramping-arrival-rate executor.dropped_iterations
// rows: scenario.rate scenario.timeUnit scenario.preAllocatedVUs scenario.maxVUs scenario.startRate scenario.stages
import exec from 'k6/execution';
import { sleep } from 'k6';
import { shown } from './row.js';
import { Trend } from 'k6/metrics';

const constant = new Trend('constant_arrivals');
const ramping = new Trend('ramping_arrivals');
const crowded = new Trend('crowded_arrivals');

export const options = {
  summaryTrendStats: ['count', 'min', 'max', 'med'],
  scenarios: {
    constant: { executor: 'constant-arrival-rate', rate: 20, timeUnit: '1s', duration: '2s', preAllocatedVUs: 50, maxVUs: 60, exec: 'steady' },
    ramping: { executor: 'ramping-arrival-rate', startRate: 0, timeUnit: '1s', preAllocatedVUs: 50, stages: [{ duration: '2s', target: 20 }, { duration: '1s', target: 20 }], exec: 'ramped' },
    crowded: { executor: 'constant-arrival-rate', rate: 10, duration: '2s', preAllocatedVUs: 1, maxVUs: 2, gracefulStop: '5s', exec: 'crowd' },
  },
};

export function steady() { constant.add(Date.now() - exec.scenario.startTime); }
export function ramped() { ramping.add(Date.now() - exec.scenario.startTime); }
export function crowd() { crowded.add(Date.now() - exec.scenario.startTime); sleep(3); }

/** Whether a value is within the definition of an executor, with what a busy machine may add. */
const near = (value, expected, allowed) => (Math.abs(value - expected) <= allowed ? `about ${expected}` : value);

export function handleSummary(data) {
  const values = (name) => data.metrics[name].values;
  const lines = [
    ['executor.constant-arrival-rate', near(values('constant_arrivals').count, 40, 1), near(values('constant_arrivals').med, 1000, 400), values('constant_arrivals').max < 3000],
    // The integral of the rate: 20 while it rises, 20 while it stays.
    ['executor.ramping-arrival-rate', near(values('ramping_arrivals').count, 40, 2), near(values('ramping_arrivals').med, 2000, 400), values('ramping_arrivals').min > 100],
    // Two users, each busy for longer than the scenario.
    ['executor.dropped_iterations', values('crowded_arrivals').count, near(values('dropped_iterations').count, 18, 1)],
  ];
  return { stdout: `${lines.map(([name, ...rest]) => `${name}: ${shown(rest)}`).join('\n')}\n` };
}

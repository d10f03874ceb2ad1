// `k6/execution`, tags and metadata of samples, groups.
// json
// sorted
import exec from 'k6/execution';
import http from 'k6/http';
import { Counter } from 'k6/metrics';
import { group, check, sleep } from 'k6';
import { row, thrown } from './row.js';

const counter = new Counter('mine');
const init = [thrown(() => exec.scenario.name), thrown(() => exec.vu.iterationInScenario), thrown(() => exec.vu.idInTest), thrown(() => exec.instance.vusActive)];

export const options = {
  tags: { all: 'of the test', over: 'test' },
  scenarios: {
    first: { executor: 'per-vu-iterations', vus: 1, iterations: 2, tags: { own: 'of the scenario', over: 'scenario' }, env: { SAID: 'by the scenario' } },
    second: { executor: 'shared-iterations', vus: 2, iterations: 3, exec: 'second', startTime: '3s', gracefulStop: '1s' },
  },
};

export default function () {
  row('exec.init', () => init);
  row('exec.scenario.name exec.scenario.executor exec.scenario.iterationInTest exec.scenario.iterationInInstance', () => [exec.scenario.name, exec.scenario.executor, exec.scenario.iterationInTest, exec.scenario.iterationInInstance]);
  row('exec.scenario.startTime exec.scenario.progress', () => [Math.abs(exec.scenario.startTime - Date.now()) < 30000, Number.isInteger(exec.scenario.startTime), exec.scenario.progress >= 0 && exec.scenario.progress <= 1]);
  row('exec.vu.iterationInScenario exec.vu.iterationInInstance exec.vu.idInTest exec.vu.idInInstance', () => [exec.vu.iterationInScenario, exec.vu.iterationInInstance, exec.vu.idInTest === __VU, exec.vu.idInInstance === __VU, __ITER]);
  row('exec.instance.vusActive exec.instance.vusInitialized exec.instance.iterationsCompleted exec.instance.iterationsInterrupted exec.instance.currentTestRunDuration', () => [exec.instance.vusActive >= 1, exec.instance.vusInitialized, exec.instance.iterationsCompleted, exec.instance.iterationsInterrupted, exec.instance.currentTestRunDuration >= 0]);
  row('exec.vu.tags exec.vu.metrics.tags', () => [Object.keys(exec.vu.tags).sort(), exec.vu.tags.all, exec.vu.tags.over, exec.vu.tags.own, exec.vu.tags.nothing]);
  exec.vu.tags.set = 'by the script';
  exec.vu.metrics.tags.number = 5;
  exec.vu.metrics.tags.truth = true;
  counter.add(1);
  counter.add(1, { more: 'of the sample', over: 'sample' });
  row('exec.vu.tags', () => [exec.vu.tags.set, exec.vu.tags.number, exec.vu.tags.truth, thrown(() => { exec.vu.tags.bad = { a: 1 }; }), thrown(() => { exec.vu.tags.bad = null; })]);
  delete exec.vu.tags.set;
  row('exec.vu.tags', () => [exec.vu.tags.set, 'number' in exec.vu.tags, Object.keys(exec.vu.tags).includes('set')]);
  exec.vu.metrics.metadata.trace = 'abc';
  row('exec.vu.metrics.metadata', () => [exec.vu.metrics.metadata.trace, thrown(() => { exec.vu.metrics.metadata.bad = { a: 1 }; })]);
  counter.add(1);
  delete exec.vu.metrics.metadata.trace;
  group('outer', () => { http.get(`${__ENV.URL}/in/a/group`); group('inner', () => { check(1, { 'in groups': true }, { of: 'check' }); counter.add(2); row('exec.vu.tags', () => exec.vu.tags.group); }); });
  row('scenario.env', () => __ENV.SAID);
  row('exec.test.options', () => { const { options } = exec.test; return [Object.keys(options.scenarios).sort(), options.scenarios.first, options.scenarios.second.startTime, options.tags, thrown(() => { options.vus = 5; }), options.paused, options.throw, options.summaryTrendStats, options.systemTags.length]; });
  row('exec.test.options', () => Object.keys(exec.test.options).sort());
}

export function second() {
  row('scenario.exec scenario.tags', () => [exec.scenario.name, exec.scenario.executor, exec.vu.tags.own, exec.vu.tags.all, __ENV.SAID]);
  row('exec.scenario.iterationInTest', () => exec.scenario.iterationInTest);
  sleep(0.1);
}

// The users of a scenario that is over rest; those that did nothing yet come first.
// sorted
import exec from 'k6/execution';
import { row } from './row.js';

const each = (startTime) => ({ executor: 'per-vu-iterations', vus: 2, iterations: 1, startTime, maxDuration: '5s' });

export const options = { scenarios: { first: each('0s'), second: each('2s'), third: each('4s') } };

export default function () {
  const rested = __ITER > 0 ? 'was in the first' : 'did nothing yet';
  row('scenario.startTime exec.vu.iterationInInstance', () => [exec.scenario.name, exec.scenario.name === 'third' ? 'any' : rested]);
}

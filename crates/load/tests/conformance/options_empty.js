// Options that say nothing: k6 warns, and runs one iteration.
// rows: option.empty
import exec from 'k6/execution';
import { row } from './row.js';

export const options = { stages: [{ target: 2 }] };

export default function () {
  row('option.empty', () => [exec.scenario.executor, Object.keys(exec.test.options.scenarios)]);
}

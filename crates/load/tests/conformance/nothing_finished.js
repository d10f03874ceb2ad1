// A test that is too short for one iteration warns of it.
import { sleep } from 'k6';
import { row } from './row.js';

export const options = { scenarios: { short: { executor: 'constant-vus', vus: 1, duration: '1s', gracefulStop: '0s' } } };

export default function () {
  row('scenario.gracefulStop', () => __ITER);
  sleep(5);
}

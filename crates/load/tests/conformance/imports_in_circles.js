// Files import each other, and one itself.
import { row } from './row.js';
import { down } from './data/helpers/circle-down.js';
import * as own from './imports_in_circles.js';

export const options = { scenarios: { all: { executor: 'per-vu-iterations', vus: 2, iterations: 1 } } };
export const steps = 5;

export function setup() {
  row('life.import', () => [down(own.steps), typeof own.default]);
}

export default function () {
  if (down(own.steps) !== 'down 5 up 4 down 3 up 2 down 1') throw new Error(down(own.steps));
}

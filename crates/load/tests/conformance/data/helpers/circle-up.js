import { down } from './circle-down.js';

export const up = (steps) => `up ${steps}${steps > 1 ? ` ${down(steps - 1)}` : ''}`;

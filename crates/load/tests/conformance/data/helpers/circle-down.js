import { up } from './circle-up.js';

export const down = (steps) => `down ${steps}${steps > 1 ? ` ${up(steps - 1)}` : ''}`;

// What every other module stands on: the way to the host.
const host = globalThis.__springtide;
delete globalThis.__springtide;

export const call = host.call;
export const sleep = host.sleep;
export const check = host.check;
export const addSample = host.add;

// A module that reads files: its own code beside itself, its functions beside the script that calls.
export const opened = open('./beside.txt');
export const location = import.meta.resolve('./beside.txt');
export const read = (path) => open(path);

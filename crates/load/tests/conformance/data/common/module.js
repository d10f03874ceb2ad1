export default () => 'of a module';
export const named = 'named';

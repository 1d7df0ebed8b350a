// Numbers in words.

const english = new Intl.NumberFormat("en");

// A whole number: 1,234.
export const whole = (number) => english.format(number);

// A number with its noun: 1 clip, 1,234 clips.
export const counted = (number, noun) => `${whole(number)} ${noun}${number === 1 ? "" : "s"}`;

/**
 * Quantiles of the normal distribution and of Student's t. Pure.
 *
 * Sources of the series: M. Abramowitz and I. Stegun, "Handbook of Mathematical Functions", 1964, 26.2.11 (normal)
 * and 26.7.3 and 26.7.4 (Student's t with a whole number of degrees of freedom). Both are inverted by bisection.
 */

import { LodgeError } from '../errors.ts';

const found = new Map<string, number>();

/**
 * The number of standard deviations on both sides of the mean that hold this share of a normal distribution:
 * 1.96 for 0.95.
 * @param confidence from 0 to 1, both left out
 */
export function normalReach(confidence: number): number {
  checkConfidence(confidence);
  return remembered(`normal ${confidence}`, () => bisect(0, 8, (z) => normalWithin(z) < confidence));
}

/**
 * The number of standard errors on both sides of a mean that hold this share of Student's t: 2.776 for 0.95 with
 * 4 degrees of freedom.
 * @param degrees of freedom, at least 1; a fraction of one is left off, which errs on the wide side
 * @param confidence from 0 to 1, both left out
 */
export function studentReach(degrees: number, confidence: number): number {
  checkConfidence(confidence);
  // Beyond this the two distributions differ by less than 1 part in 10,000, and the series grows long.
  const whole = Math.min(Math.floor(degrees), 10_000);
  if (!(whole >= 1)) throw new LodgeError('internal', `Student's t has no ${degrees} degrees of freedom`);
  return remembered(`${whole} ${confidence}`, () => {
    const angle = bisect(0, Math.PI / 2, (theta) => studentWithin(theta, whole) < confidence);
    return Math.tan(angle) * Math.sqrt(whole);
  });
}

function checkConfidence(confidence: number): void {
  if (!(confidence > 0 && confidence < 1)) {
    throw new LodgeError('spec-value', `${confidence} is not a confidence`, {
      fix: 'give a fraction between 0 and 1, as in 0.95',
    });
  }
}

/** The share of a normal distribution within `z` standard deviations of its mean. */
function normalWithin(z: number): number {
  let term = z;
  let sum = z;
  for (let k = 1; term > sum * 1e-17; k++) {
    term *= (z * z) / (2 * k + 1);
    sum += term;
  }
  return sum * Math.sqrt(2 / Math.PI) * Math.exp((-z * z) / 2);
}

/** The share of Student's t within `t`, given as the angle whose tangent is t / sqrt(degrees). */
function studentWithin(angle: number, degrees: number): number {
  const isOdd = degrees % 2 === 1;
  const cosine = Math.cos(angle);
  let term = isOdd ? cosine : 1;
  let sum = degrees === 1 ? 0 : term;
  for (let power = isOdd ? 3 : 2; power <= degrees - 2; power += 2) {
    term *= ((power - 1) / power) * cosine * cosine;
    sum += term;
  }
  return isOdd ? (2 / Math.PI) * (angle + Math.sin(angle) * sum) : Math.sin(angle) * sum;
}

/** Where a function that is true below and false above changes, to the last bit. */
function bisect(from: number, to: number, isBelow: (x: number) => boolean): number {
  let low = from;
  let high = to;
  for (;;) {
    const middle = (low + high) / 2;
    if (middle <= low || middle >= high) return middle;
    if (isBelow(middle)) low = middle;
    else high = middle;
  }
}

function remembered(key: string, compute: () => number): number {
  let value = found.get(key);
  if (value === undefined) {
    value = compute();
    found.set(key, value);
  }
  return value;
}

import { describe, expect, it } from 'vitest'
import {
  assertKnownKeys,
  checkBoolean,
  checkCount,
  checkDuration,
  checkFunction,
  checkOneOf,
  checkSize,
  checkTimer,
  isCount,
  isPlainObject,
  optionError,
  readSize,
} from '../lib/validate.ts'

describe('readSize', () => {
  it.each<[unknown, number | undefined]>([
    [1, 1],
    [1.9, 1],
    ['7b', 7],
    ['1.5 KB', 1536],
    ['10gb', 10 * 1024 ** 3],
    [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
    [0, undefined],
    [-1, undefined],
    [Number.NaN, undefined],
    [Number.POSITIVE_INFINITY, undefined],
    ['', undefined],
    ['10', undefined],
    ['10 apples', undefined],
    ['0b', undefined],
    ['9007199254740993pb', undefined],
    [null, undefined],
    [undefined, undefined],
    [{}, undefined],
  ])('reads %j as %j', (value, bytes) => {
    expect(readSize(value)).toBe(bytes)
  })
})

describe('option checks', () => {
  it.each<[string, unknown, () => unknown]>([
    ['a size', 1024, () => checkSize('f', 'a', '1kb')],
    ['the smallest size', 1024, () => checkSize('f', 'a', '1kb', 1024)],
    ['the largest size', 1024, () => checkSize('f', 'a', 1024, 1, 1024)],
    ['the shortest duration', 1, () => checkDuration('f', 'a', 1, 1)],
    ['an unlimited duration', Number.POSITIVE_INFINITY, () => checkDuration('f', 'a', Infinity, 1)],
    ['the shortest timer', 0, () => checkTimer('f', 'a', 0, 0)],
    ['the longest timer', 2 ** 31 - 1, () => checkTimer('f', 'a', 2 ** 31 - 1, 1)],
    ['a count of 0', 0, () => checkCount('f', 'a', 0, 'sessions')],
    ['an unlimited count', Number.POSITIVE_INFINITY, () => checkCount('f', 'a', Infinity, 'sessions')],
    ['the largest count', 5, () => checkCount('f', 'a', 5, 'seconds', 5)],
    ['a choice', 201, () => checkOneOf('f', 'a', 201, [200, 201])],
    ['false', false, () => checkBoolean('f', 'a', false)],
    ['a function', isCount, () => checkFunction('f', 'a', isCount)],
    ['an absent function', undefined, () => checkFunction('f', 'a', undefined)],
  ])('return %s', (_, expected, check) => {
    expect(check()).toBe(expected)
  })

  const anySize = "a number of bytes from 1 to 2^53 - 1, or a string such as '8mb'"
  const timer = 'a number of milliseconds from 1 to 2147483647 (24.8 days)'
  it.each<[string, () => unknown]>([
    [`${anySize}, not '8 apples'`, () => checkSize('f', 'a', '8 apples')],
    [`${anySize}, not undefined`, () => checkSize('f', 'a', undefined)],
    [
      "a number of bytes from 5 to 9, or a string such as '8mb', not '8mb'",
      () => checkSize('f', 'a', '8mb', 5, 9),
    ],
    [
      "a number of bytes from 5 to 2^53 - 1, or a string such as '8mb', not 4",
      () => checkSize('f', 'a', 4, 5),
    ],
    ['a number of milliseconds, at least 1, not 0', () => checkDuration('f', 'a', 0, 1)],
    ["a number of milliseconds, at least 1, not '14d'", () => checkDuration('f', 'a', '14d', 1)],
    [`${timer}, not NaN`, () => checkTimer('f', 'a', Number.NaN, 1)],
    [`${timer}, not 0`, () => checkTimer('f', 'a', 0, 1)],
    [`${timer}, not '5'`, () => checkTimer('f', 'a', '5', 1)],
    [`${timer}, not 2147483648`, () => checkTimer('f', 'a', 2 ** 31, 1)],
    ['a whole number of sessions, or Infinity, not 1.5', () => checkCount('f', 'a', 1.5, 'sessions')],
    ['a whole number of sessions, or Infinity, not -1', () => checkCount('f', 'a', -1, 'sessions')],
    ["a whole number of sessions, or Infinity, not '5'", () => checkCount('f', 'a', '5', 'sessions')],
    ['a whole number of seconds from 0 to 5, not 6', () => checkCount('f', 'a', 6, 'seconds', 5)],
    [
      'a whole number of seconds from 0 to 5, not Infinity',
      () => checkCount('f', 'a', Infinity, 'seconds', 5),
    ],
    ["200 or 201, not '200'", () => checkOneOf('f', 'a', '200', [200, 201])],
    ["'x', 'y' or 'z', not undefined", () => checkOneOf('f', 'a', undefined, ['x', 'y', 'z'])],
    ['true or false, not 0', () => checkBoolean('f', 'a', 0)],
    ['a function, not [object Object]', () => checkFunction('f', 'a', {})],
    ["a path, not ''", () => Promise.reject(optionError('f', 'a', 'a path', ''))],
  ])("throw a TypeError: option 'a' takes %s", async (expected, check) => {
    const error = await (async () => check())().catch((reason) => reason)
    expect(error).toEqual(new TypeError(`f: option 'a' takes ${expected}`))
  })
})

describe('assertKnownKeys', () => {
  const assertKeys = (object: object) => () =>
    assertKnownKeys('f', 'option', object, ['maxSize', 'overwrite'])

  it('accepts any subset of the known keys', () => {
    expect(assertKeys({})).not.toThrow()
    expect(assertKeys({ maxSize: undefined, overwrite: true })).not.toThrow()
  })

  it('suggests the most similar known key', () => {
    expect(assertKeys({ maxsize: 1 })).toThrow(
      new TypeError("f: there is no option 'maxsize'; did you mean 'maxSize'?"),
    )
  })

  it('lists the known keys if none is similar', () => {
    expect(assertKeys({ somethingElse: 1 })).toThrow(
      new TypeError("f: there is no option 'somethingElse'; the options are maxSize, overwrite"),
    )
  })
})

it.each([
  [0, true],
  [Number.MAX_SAFE_INTEGER, true],
  [Number.MAX_SAFE_INTEGER + 1, false],
  [-1, false],
  [0.5, false],
  [Number.NaN, false],
  ['1', false],
])('isCount(%j) is %j', (value, expected) => {
  expect(isCount(value)).toBe(expected)
})

it.each<[string, unknown, boolean]>([
  ['an object literal', {}, true],
  ['an object without prototype', Object.create(null), true],
  ['a list', [], false],
  ['a date', new Date(0), false],
  ['null', null, false],
  ['a string', 'a', false],
])('isPlainObject of %s is %j', (_, value, expected) => {
  expect(isPlainObject(value)).toBe(expected)
})

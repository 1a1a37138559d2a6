import type { Contestant } from './case.ts'

const server = (
  name: string,
  program: string,
  dialect: Contestant['dialect'],
  keeps: boolean,
  ...words: string[]
): Contestant => ({ name, server: { program, words }, dialect, keeps })

/** All that are measured, by the names that tables and targets know them under. */
export const bits = server('bits', 'bits', 'bits', true)
export const bitsNone = server('bits none', 'bits', 'bits', true, 'none')
export const bitsFragment = server('bits fragment', 'bits', 'bits', true, 'fragment')
export const pipeline = server('pipeline', 'pipeline', 'put', true)
export const ceiling = server('ceiling', 'ceiling', 'put', true)
export const tus = server('tus', 'tus', 'tus', true)
export const multer = server('multer', 'multer', 'form', true)
export const nginx: Contestant = { name: 'nginx', server: 'nginx', dialect: 'dav', keeps: true }

/** Limits: what it costs to hear a client at all, to hear all that BITS makes it say, and to keep the promises besides. */
export const discard = server('discard', 'discard', 'put', false)
export const packets = server('packets', 'packets', 'override', false)
export const floor = server('floor', 'floor', 'override', true)
/** The floor, if nobody minded that a slow disk stops everything. */
export const blocking = server('blocking', 'floor', 'override', true, 'blocking')

/** The app itself, without uploads: with the middleware, without it, and with one in its place that does nothing. */
export const beside = (dialect: 'get' | 'post'): Contestant[] => [
  server('with', 'app', dialect, false, 'with'),
  server('without', 'app', dialect, false, 'without'),
  server('empty', 'app', dialect, false, 'empty'),
]
/** Neither the middleware nor Express. */
export const bare = server('bare', 'bare', 'get', false)

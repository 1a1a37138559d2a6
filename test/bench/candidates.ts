import type { Candidate } from './case.ts'

const server = (
  name: string,
  program: string,
  protocol: Candidate['protocol'],
  storesFiles: boolean,
  ...args: string[]
): Candidate => ({ name, server: { program, args }, protocol, storesFiles })

/** All candidates. Tables and targets refer to them by name. */
export const bits = server('bits', 'bits', 'bits', true)
export const bitsNone = server('bits none', 'bits', 'bits', true, 'none')
export const bitsFragment = server('bits fragment', 'bits', 'bits', true, 'fragment')
export const pipeline = server('pipeline', 'pipeline', 'put', true)
export const ceiling = server('ceiling', 'ceiling', 'put', true)
export const tus = server('tus', 'tus', 'tus', true)
export const multer = server('multer', 'multer', 'form', true)
export const nginx: Candidate = { name: 'nginx', server: 'nginx', protocol: 'dav', storesFiles: true }

/**
 * Limits: `discard` only reads the bytes, `packets` only answers the packets of a BITS upload, and `floor`
 * makes only the file system calls that the promises of this package need.
 */
export const discard = server('discard', 'discard', 'put', false)
export const packets = server('packets', 'packets', 'override', false)
export const floor = server('floor', 'floor', 'override', true)
/** The floor with blocking calls, with which a slow disk stops the whole process. */
export const blocking = server('blocking', 'floor', 'override', true, 'blocking')

/** Over an object service, whose access data is added to their arguments. */
export const bitsS3 = server('bits', 'bits-s3', 'bits', true)
export const tusS3 = server('@tus/s3-store', 'tus-s3', 'tus', true)
export const bitsAzure = server('bits', 'bits-azure', 'bits', true)
export const tusAzure = server('@tus/azure-store', 'tus-azure', 'tus', true)

/** An application without uploads: with the middleware, without it, and with an empty middleware. */
export const beside = (protocol: 'get' | 'post'): Candidate[] => [
  server('with', 'app', protocol, false, 'with'),
  server('without', 'app', protocol, false, 'without'),
  server('empty', 'app', protocol, false, 'empty'),
]
/** Clients, each with the server of its protocol. */
export const send: Candidate = {
  ...server('send', 'command', 'bits', true),
  client: { program: 'send', path: '/upload/' },
}
export const tusClient: Candidate = {
  ...server('tus-js-client', 'tus', 'tus', true, 'alone'),
  client: { program: 'tus', path: '/files' },
}
/** Neither the middleware nor Express. */
export const bare = server('bare', 'bare', 'get', false)

/** The dialect of the baselines that have none of their own: PUT with Content-Range, and the next offset in the answer. */
import { mkdirSync } from 'node:fs'
import { basename, join } from 'node:path'
import express from 'express'
import { directory } from './serve.mjs'

/**
 * @typedef {object} Put
 * @property {string} path where the file is to be
 * @property {number} first
 * @property {number} last
 * @property {number} total
 */

/**
 * An Express 5 app with the receiver under /files, where ours is.
 * @param {(request: express.Request, put: Put, answer: () => void, fail: (error: unknown) => void) => void} receive
 */
export function putApp(receive) {
  mkdirSync(directory, { recursive: true })
  return express().put('/files/:name', (request, response, next) => {
    const range = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(request.headers['content-range'] ?? '')
    const [first, last, total] = (range ?? []).slice(1).map(Number)
    if (first === undefined || last === undefined || total === undefined) return next(new Error('No range'))
    const put = { path: join(directory, basename(request.params.name)), first, last, total }
    const answer = () => {
      response.setHeader('Upload-Offset', last + 1)
      response.setHeader('Content-Length', 0)
      response.end()
    }
    receive(request, put, answer, next)
  })
}

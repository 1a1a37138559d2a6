/**
 * The protocol of receivers without one of their own: PUT with Content-Range, and the next offset in the
 * response.
 */
import { mkdirSync } from 'node:fs'
import { basename, join } from 'node:path'
import express from 'express'
import { directory } from './serve.mjs'

/**
 * @typedef {object} Put
 * @property {string} path path of the file
 * @property {number} first
 * @property {number} last
 * @property {number} total
 */

/**
 * An Express 5 application with a receiver under /files.
 * @param {(request: express.Request, put: Put, respond: () => void, fail: (error: unknown) => void) => void}
 *   receive
 */
export function putApp(receive) {
  mkdirSync(directory, { recursive: true })
  return express().put('/files/:name', (request, response, next) => {
    const range = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(request.headers['content-range'] ?? '')
    const [first, last, total] = (range ?? []).slice(1).map(Number)
    if (first === undefined || last === undefined || total === undefined)
      return next(new Error('The request has no valid Content-Range'))
    const put = { path: join(directory, basename(request.params.name)), first, last, total }
    const respond = () => {
      response.setHeader('Upload-Offset', last + 1)
      response.setHeader('Content-Length', 0)
      response.end()
    }
    receive(request, put, respond, next)
  })
}

/**
 * The best receiver that can be made by hand of `node:http`, to know what Node can do: files stay open between fragments,
 * their offsets are in memory, a fragment up to 1 MiB is one write, of a larger one a batch gathers while the one before
 * is written (smaller batches cost 1.4 times the processor's time at 5 MiB). It promises nothing: no session, no lock, no
 * sync, no resumption, no time-out. Synchronous writes would be faster still, and let everybody wait while the disk does:
 * that is no server.
 */
import { close, open, writev } from 'node:fs'
import { putApp } from './put.mjs'
import { serve } from './serve.mjs'
import { shareShapes } from './shapes.mjs'

const Batch = 1024 * 1024
/** @type {Map<string, number>} */
const files = new Map()

shareShapes()
serve(
  putApp((request, { path, first, last, total }, answer, fail) => {
    /** @type {Buffer[]} */
    let gathered = []
    let size = 0
    let at = first
    let fd = files.get(path)
    let isWriting = fd === undefined
    let hasEnded = false

    const done = () => {
      if (last + 1 < total || fd === undefined) return answer()
      files.delete(path)
      close(fd, (error) => (error ? fail(error) : answer()))
    }
    const write = () => {
      if (isWriting || fd === undefined) return
      if (size === 0) return hasEnded ? done() : undefined
      if (size < Batch && !hasEnded) return
      const batch = gathered
      const length = size
      gathered = []
      size = 0
      isWriting = true
      if (request.isPaused()) request.resume()
      writev(fd, batch, at, (error, written) => {
        isWriting = false
        if (error || written !== length) return fail(error ?? new Error('Written in part'))
        at += written
        write()
      })
    }
    request
      .on('data', (chunk) => {
        gathered.push(chunk)
        size += chunk.length
        if (size >= Batch && isWriting) request.pause()
        write()
      })
      .on('end', () => {
        hasEnded = true
        write()
      })
      .on('error', fail)
    if (fd === undefined) {
      open(path, 'w', (error, opened) => {
        if (error) return fail(error)
        fd = opened
        files.set(path, fd)
        isWriting = false
        write()
      })
    }
  }),
  { highWaterMark: Batch },
)

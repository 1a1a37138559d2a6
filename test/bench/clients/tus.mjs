/**
 * tus-js-client with its defaults: `tus.mjs URL PATTERN`. It sends three files at a time, as `send` does by default. It does not
 * record its uploads: after a crash they begin again.
 */
import { createReadStream } from 'node:fs'
import { basename } from 'node:path'
import { glob } from 'tinyglobby'
import { Upload } from 'tus-js-client'
import { pattern, url } from './measured.mjs'

const Parallel = 3

/** @param {string} path */
const upload = (path) =>
  new Promise((resolve, reject) => {
    const metadata = { filename: basename(path) }
    const options = { endpoint: url, metadata, onSuccess: resolve, onError: reject }
    new Upload(createReadStream(path), options).start()
  })

const queue = (await glob(pattern, { absolute: true })).sort().values()
const work = async () => {
  for (const path of queue) await upload(path)
}
await Promise.all(Array.from({ length: Parallel }, work))

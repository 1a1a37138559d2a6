/** Request targets and mount paths: what the middleware makes of `req.url`. */
import type { RequestListener } from 'node:http'
import { connect } from 'node:net'
import express from 'express'
import { expect, it, onTestFinished } from 'vitest'
import { type BitsUpload, bitsUpload } from '../../lib/index.ts'
import { TestClient } from '../support/client.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { serve } from '../support/server.ts'
import { next } from '../wire/setting.ts'

async function start(app: (upload: BitsUpload) => RequestListener) {
  const upload = bitsUpload({ store: await temporaryDirectory() })
  onTestFinished(() => upload.close({ grace: 0 }))
  return { upload, url: await serve(app(upload)) }
}

const mounted = (upload: BitsUpload): RequestListener => express().use('/upload', upload)

/** Sends Create-Session and returns its status and the error in the event `refused`. */
async function refusal({ upload, url }: Awaited<ReturnType<typeof start>>, path: string) {
  const refused = next(upload, 'refused')
  const { status } = await new TestClient(new URL(path, url)).create()
  const { error } = await refused
  return { status, message: error.message }
}

it('Mount: a path that was not removed from req.url is named where its folder is missing', async () => {
  const apps: ((upload: BitsUpload) => RequestListener)[] = [
    (upload) => (request, response) => upload(request, response, () => response.writeHead(404).end()),
    (upload) => {
      const app = express()
      app.route('/upload/*path').all(upload)
      return app
    },
  ]
  for (const app of apps) {
    const scene = await start(app)
    expect(await refusal(scene, '/upload/a.bin')).toEqual({
      status: 404,
      message:
        "The folder 'upload' does not exist: create it, or set createFolders; or, if the middleware is mounted at " +
        "/upload, remove /upload from req.url, as app.use('/upload', …) does",
    })
  }
})

it('Mount: a missing folder is named without that advice if the mount path was removed', async () => {
  expect(await refusal(await start(mounted), '/upload/x/y/a.bin')).toEqual({
    status: 404,
    message: "The folder 'x/y' does not exist: create it, or set createFolders",
  })
})

it('Mount: /upload//x is refused for its empty segment, /upload/ and /upload/x/ as directories', async () => {
  const scene = await start(mounted)
  expect(await refusal(scene, '/upload//x')).toMatchObject({
    status: 400,
    message: expect.stringContaining('it contains an empty segment: its URL has two slashes in a row'),
  })
  for (const path of ['/upload/', '/upload/x/'])
    expect(await refusal(scene, path)).toMatchObject({
      status: 400,
      message: expect.stringContaining('it is a directory, because its URL ends with a slash'),
    })
})

it('Mount: a request target in absolute form is accepted below app.use()', async () => {
  const { url } = await start(mounted)
  const answer = await new Promise((resolve, reject) => {
    const socket = connect(Number(url.port), '127.0.0.1')
    socket.on('error', reject).once('data', (data) => {
      socket.destroy()
      resolve(String(data))
    })
    socket.write(
      'BITS_POST http://files.example/upload/a.bin HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n' +
        'BITS-Packet-Type: Create-Session\r\n' +
        'BITS-Supported-Protocols: {7df0354d-249b-430f-820d-3d2a9bef4931}\r\n\r\n',
    )
  })
  expect(answer).toMatch(/^HTTP\/1\.1 200 /)
})

/** A node, of the package as it was built, that tells what it takes. */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { S3Client } from '@aws-sdk/client-s3'
import { ContainerClient } from '@azure/storage-blob'
import express from 'express'
import { bitsUpload } from 'express-bits-upload'
import { azureStore } from 'express-bits-upload/azure'
import { s3Store } from 'express-bits-upload/s3'
import { answer } from './child.ts'

/** What a node has taken so far. */
export interface Usage {
  /** Processor time. */
  readonly seconds: number
  /** Resident memory in bytes. */
  readonly memory: number
}

const { STORE, ACCESS = '', BUCKET: bucket = '' } = process.env
const access = JSON.parse(ACCESS)
const store =
  STORE === 'azure'
    ? azureStore({ container: new ContainerClient(access, bucket) })
    : s3Store({ client: new S3Client(access), bucket })
const upload = bitsUpload({
  store,
  maxSessions: Number.POSITIVE_INFINITY,
  sweepEvery: 0,
  idleTimeout: 600_000,
})
const server = express().use('/upload', upload).listen(0, '127.0.0.1')
const listening = once(server, 'listening')
// No connection ends while a client makes use of it again.
server.keepAliveTimeout = 0
server.requestTimeout = 0

const answers = {
  async url(): Promise<string> {
    await listening
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}/upload/`
  },
  async usage(): Promise<Usage> {
    const { user, system } = process.cpuUsage()
    return { seconds: (user + system) / 1e6, memory: process.memoryUsage.rss() }
  },
  sweep: () => upload.sweep(),
}

answer<keyof typeof answers>((question) => answers[question]())

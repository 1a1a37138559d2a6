/** A node of the built package that reports its processor time and memory. */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { S3Client } from '@aws-sdk/client-s3'
import { ContainerClient } from '@azure/storage-blob'
import express from 'express'
import { bitsUpload } from 'express-bits-upload'
import { azureStore } from 'express-bits-upload/azure'
import { s3Store } from 'express-bits-upload/s3'
import { handleRequests } from './child.ts'

/** The resources that a node has used so far. */
export interface Usage {
  /** Seconds of processor time. */
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
// Node must not close a connection at the moment when a client reuses it.
server.keepAliveTimeout = 0
server.requestTimeout = 0

const handlers = {
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

handleRequests<keyof typeof handlers>((name) => handlers[name]())

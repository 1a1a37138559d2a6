/** Two virtual directories of IIS whose uploads a server application processes, by reference and by value. */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import express from 'express'
import { bitsUpload, notifyApplication } from 'express-bits-upload'

// BITSServerNotificationURL
const ordersUrl = process.env.ORDERS_URL ?? 'http://localhost:9000/orders.asp'
const questionsUrl = process.env.QUESTIONS_URL ?? 'http://apps.example/questions.asp'

const app = express()
// BITSServerNotificationType = 1
const notifyOrders = notifyApplication({ url: ordersUrl, mode: 'reference' })
app.use('/orders', bitsUpload({ store: './orders', onUpload: notifyOrders }))
// BITSServerNotificationType = 2
const notifyQuestions = notifyApplication({ url: questionsUrl, mode: 'value' })
app.use('/questions', bitsUpload({ store: './questions', onUpload: notifyQuestions }))

const server = app.listen(Number(process.env.PORT ?? 80))
// Time limits for slow lines and load balancers: see "Time limits" in examples/frameworks/README.md.
server.requestTimeout = 0
server.keepAliveTimeout = 125_000
server.headersTimeout = 130_000
await once(server, 'listening')
console.log(`Send files to http://localhost:${(server.address() as AddressInfo).port}/orders/ or /questions/`)

/** This package over an S3 bucket in Express 5, with the default options: `bits-s3.mjs BUCKET CLIENT_CONFIG`. */
import { S3Client } from '@aws-sdk/client-s3'
import express from 'express'
import { bitsUpload } from 'express-bits-upload'
import { s3Store } from 'express-bits-upload/s3'
import { args, directory as bucket, serve } from './serve.mjs'

const client = new S3Client(JSON.parse(args[0] ?? ''))
const upload = bitsUpload({ store: s3Store({ client, bucket }) })
serve(express().use('/files', upload), {}, () => upload.close())

/** `@tus/server` with `@tus/s3-store` and their defaults in Express 5: `tus-s3.mjs BUCKET CLIENT_CONFIG`. */
import { S3Store } from '@tus/s3-store'
import { args, directory as bucket } from './serve.mjs'
import { serveTus } from './serve-tus.mjs'

serveTus(new S3Store({ s3ClientConfig: { ...JSON.parse(args[0] ?? ''), bucket } }))

/** `@tus/server` with `@tus/file-store` in Express 5, or with the argument `alone` without it. */
import { mkdirSync } from 'node:fs'
import { FileStore } from '@tus/file-store'
import { directory } from './serve.mjs'
import { serveTus } from './serve-tus.mjs'

mkdirSync(directory, { recursive: true })
serveTus(new FileStore({ directory }))

/** This package, in Express 5. `bits.mjs DIRECTORY [DURABILITY]`; without the second, all is as by default. */
import express from 'express'
import { bitsUpload, fileStore } from 'express-bits-upload'
import { directory, serve, words } from './serve.mjs'

const [durability] = /** @type {['file' | 'fragment' | 'none' | undefined]} */ (words)
const store = durability ? fileStore(directory, { durability }) : directory
serve(express().use('/files', bitsUpload({ store })))

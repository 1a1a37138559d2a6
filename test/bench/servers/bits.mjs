/** This package in Express 5: `bits.mjs DIRECTORY [DURABILITY]`, by default with the default options. */
import express from 'express'
import { bitsUpload, fileStore } from 'express-bits-upload'
import { args, directory, serve } from './serve.mjs'

const [durability] = /** @type {['file' | 'fragment' | 'none' | undefined]} */ (args)
const store = durability ? fileStore(directory, { durability }) : directory
serve(express().use('/files', bitsUpload({ store })))

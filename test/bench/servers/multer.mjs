/** `multer` with its disk storage in Express 5: whole files in forms. */
import { mkdirSync } from 'node:fs'
import express from 'express'
import multer from 'multer'
import { directory, serve } from './serve.mjs'

mkdirSync(directory, { recursive: true })
const storage = multer.diskStorage({
  destination: directory,
  filename: (_request, file, callback) => callback(null, file.originalname),
})
serve(
  express().post('/files', multer({ storage }).single('file'), (_request, response) => {
    response.setHeader('Content-Length', 0).end()
  }),
)

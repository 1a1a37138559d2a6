/**
 * This package over an Azure container in Express 5, with the default options:
 * `bits-azure.mjs CONTAINER CONNECTION_STRING`, the latter as JSON.
 */
import { ContainerClient } from '@azure/storage-blob'
import express from 'express'
import { bitsUpload } from 'express-bits-upload'
import { azureStore } from 'express-bits-upload/azure'
import { args, directory, serve } from './serve.mjs'

const container = new ContainerClient(JSON.parse(args[0] ?? ''), directory)
const upload = bitsUpload({ store: azureStore({ container }) })
serve(express().use('/files', upload), {}, () => upload.close())

/**
 * `@tus/server` with `@tus/azure-store` and their defaults in Express 5:
 * `tus-azure.mjs CONTAINER CONNECTION_STRING`, the latter as JSON.
 */

import { ContainerClient } from '@azure/storage-blob'
import { AzureStore } from '@tus/azure-store'
import { args, directory } from './serve.mjs'
import { serveTus } from './serve-tus.mjs'

serveTus(new AzureStore({ client: new ContainerClient(JSON.parse(args[0] ?? ''), directory) }))

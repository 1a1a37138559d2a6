import { randomUUID } from 'node:crypto'
import { ContainerClient } from '@azure/storage-blob'
import { onTestFinished } from 'vitest'
import { access } from './service.ts'

/** Azurite's connection string; it runs for all tests. */
export const azuriteService = (): Promise<string> => access('azurite')

/** An empty container that goes with the test, of an Azurite that runs for all tests. */
export async function temporaryContainer(): Promise<ContainerClient> {
  const container = new ContainerClient(await azuriteService(), `test-${randomUUID()}`)
  await container.create()
  onTestFinished(async () => {
    await container.deleteIfExists()
  })
  return container
}

import { randomUUID } from 'node:crypto'
import { ContainerClient } from '@azure/storage-blob'
import { onTestFinished } from 'vitest'
import { access } from './service.ts'

/** The connection string of Azurite. All tests share one Azurite. */
export const azuriteService = (): Promise<string> => access('azurite')

/** An empty container of that Azurite, which is removed after the test. */
export async function temporaryContainer(): Promise<ContainerClient> {
  const container = new ContainerClient(await azuriteService(), `test-${randomUUID()}`)
  await container.create()
  onTestFinished(async () => {
    await container.deleteIfExists()
  })
  return container
}

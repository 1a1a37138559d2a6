/** The contract of object services for the Azure client when the server copies blocks itself. */
import { describe } from 'vitest'
import { temporaryContainer } from '../../../support/azurite.ts'
import { startCopyServer } from './azure/copy-server.ts'
import { azureFixture, azuriteCapabilities } from './azure/fixture.ts'
import { serviceSuite } from './contract.ts'

describe('Azure object service with server-side block copy', () => {
  serviceSuite(async () => {
    const { container } = await startCopyServer(await temporaryContainer())
    return azureFixture(container)
  }, azuriteCapabilities)
})

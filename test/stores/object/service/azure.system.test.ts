/** The contract of object services for the Azure client that copies blocks within the service. */
import { describe } from 'vitest'
import { temporaryContainer } from '../../../support/azurite.ts'
import { serviceOver } from './azure/service.ts'
import { tested } from './azure/tested.ts'
import { spaceSuite } from './contract.ts'

describe('Azure object service with server-side block copy', () => {
  spaceSuite(async () => {
    const { container } = await serviceOver(await temporaryContainer())
    return tested(container)
  })
})
